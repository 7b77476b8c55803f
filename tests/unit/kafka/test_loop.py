from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from penstock.core.errors import DeadLetter, RetryLater, StopProcess
from penstock.events.topics import JOBS_REPORTS, JOBS_STATUS, dlq_of
from penstock.kafka.batches import Dead, Outcome
from penstock.kafka.dlq import origin
from penstock.kafka.loop import in_turn, run_loop
from penstock.kafka.memory import MemoryBus, MemoryGroupSource
from penstock.kafka.partitioner import partition_for
from penstock.kafka.ports import MAX_RECORDS
from penstock.kafka.records import Outgoing, Partition, Record
from penstock.runtime.run import Process
from penstock.testing.clock import ManualClock

TOPIC = JOBS_REPORTS.name
OUT = "out"


class Rig:
    """A loop on an in-memory bus with a clock that stands; it ends when `until` holds at a tick."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(2, self.clock)
        self.process = Process("test", clock=self.clock)
        self.sender: Any = self.bus.sender()
        self.source = self.bus.group([TOPIC, JOBS_STATUS.name], "g")
        self.steps: list[list[bytes | None]] = []

    def write(self, *values: bytes, topic: str = TOPIC) -> None:
        self.bus.sender().send([Outgoing(topic, "one", value, []) for value in values])

    def run(
        self,
        step: Callable[[list[Record]], Outcome],
        until: Callable[[], bool] | None = None,
        tick: Callable[[], Outcome | None] | None = None,
        share_bytes: int | None = None,
    ) -> None:
        ticks = 0

        def at_tick(_now: float) -> Outcome | None:
            nonlocal ticks
            ticks += 1
            if until() if until is not None else ticks > 3:
                self.process.stop()
            return tick() if tick is not None else None

        def at_step(batch: list[Record], now: float) -> Outcome:
            assert now == self.clock.now()
            self.steps.append([record.value for record in batch])
            return step(batch)

        run_loop(
            self.process,
            self.source,
            at_step,
            self.sender,
            tick=at_tick,
            tick_seconds=0.0,
            share_bytes=share_bytes,
        )

    def unread(self) -> list[bytes | None]:
        """What the group would read again."""
        again: MemoryGroupSource = self.bus.group([TOPIC, JOBS_STATUS.name], "g")
        return [record.value for record in again.poll(0)]

    def out(self, topic: str = OUT) -> list[bytes | None]:
        return [record.value for record in self.bus.records(topic)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def echo(batch: Sequence[Record]) -> Outcome:
    return Outcome([Outgoing(OUT, "k", record.value, []) for record in batch])


def test_poll_step_send_done_commit(rig: Rig) -> None:
    done: list[int] = []

    def step(batch: list[Record]) -> Outcome:
        return Outcome(echo(batch).records, lambda: done.append(len(rig.out())))

    rig.write(b"1", b"2", b"3")
    rig.run(step)
    assert rig.steps == [[b"1", b"2", b"3"]]
    assert rig.out() == [b"1", b"2", b"3"]
    assert done == [3]  # only after the acks
    assert rig.unread() == []


def test_ready_once_positioned(rig: Rig) -> None:
    assert not rig.process.is_ready()
    rig.run(echo)
    assert rig.process.is_ready()


def test_retry_later_brings_the_same_batch_again(rig: Rig) -> None:
    def step(batch: list[Record]) -> Outcome:
        if len(rig.steps) < 5:
            raise RetryLater("Postgres is away", component="postgres")
        return echo(batch)

    rig.write(b"1", b"2")
    began = rig.clock.monotonic()
    rig.run(step)
    assert rig.steps == [[b"1", b"2"]] * 5
    assert rig.out() == [b"1", b"2"]
    waited = rig.clock.monotonic() - began
    assert 0.5 * (0.05 + 0.1 + 0.2 + 0.4) <= waited <= 0.05 + 0.1 + 0.2 + 0.4
    text = rig.process.metrics.text().decode()
    assert 'penstock_retries_total{component="postgres"} 4.0' in text


def test_told_to_stop_during_an_outage_it_commits_nothing(rig: Rig) -> None:
    def step(_batch: list[Record]) -> Outcome:
        rig.process.stop()
        raise RetryLater("Postgres is away")

    rig.write(b"1")
    rig.run(step)
    assert rig.unread() == [b"1"]


def test_partitions_lost_during_an_outage_drop_their_records(rig: Rig) -> None:
    other = rig.bus.group([TOPIC, JOBS_STATUS.name], "g")
    rig.source.poll(0)
    rig.bus.groups["g"].leave(other._member)

    def step(_batch: list[Record]) -> Outcome:
        if len(rig.steps) == 1:
            rig.bus.groups["g"].join(other._member, rig.bus.partitions_of([TOPIC, JOBS_STATUS.name]))
            rig.bus.groups["g"].shares[rig.source._member] = set()
        raise RetryLater("Postgres is away")

    rig.write(b"1")
    rig.run(step)
    assert rig.steps == [[b"1"]]
    assert rig.bus.groups["g"].committed == {}


class TwoPartitions(Rig):
    """One of its two partitions comes and goes: the broker's wish, heard of at the next `keep_alive`."""

    def __init__(self, moving: int) -> None:
        super().__init__()
        self.moving: Partition = (TOPIC, moving)
        self.steady: Partition = (TOPIC, 1 - moving)
        self.source.poll(0)
        self.group = self.bus.groups["g"]
        self.all = self.source.assignment()

    def write_to(self, partition: Partition, *values: bytes) -> None:
        key = next(f"{n}" for n in range(100) if partition_for(f"{n}".encode(), 2) == partition[1])
        self.bus.sender().send([Outgoing(TOPIC, key, value, []) for value in values])

    def take_away(self) -> None:
        self.group.shares[self.source._member] = self.all - {self.moving}

    def give_back(self) -> None:
        self.group.shares[self.source._member] = set(self.all)


@pytest.mark.parametrize("moving", [0, 1])
def test_half_a_batch_taken_away_stops_not_the_other_half(moving: int) -> None:
    rig = TwoPartitions(moving)
    done: list[bytes | None] = []

    def step(batch: list[Record]) -> Outcome:
        values = [record.value for record in batch]
        if b"poison" in values:
            raise ValueError("poison")
        if b"lost" in values:
            rig.take_away()
            raise RetryLater("Postgres is away")
        done.extend(values)
        return Outcome()

    def tick() -> Outcome | None:
        if rig.steps and done[-1:] == [b"mine"]:
            rig.write_to(rig.steady, b"next")
        return None

    rig.write_to(rig.moving, b"lost", b"lost")
    rig.write_to(rig.steady, b"poison", b"mine")
    rig.run(step, tick=tick)
    assert done == [b"mine", b"next"]
    assert rig.out(dlq_of(TOPIC)) == [b"poison"]
    assert (rig.group.committed.get(rig.moving), rig.group.committed[rig.steady]) == (None, 3)


@pytest.mark.parametrize("moving", [0, 1])
def test_a_partition_that_went_and_came_back_is_committed_only_as_it_is_read_again(moving: int) -> None:
    rig = TwoPartitions(moving)
    committed: list[int | None] = []
    outages = [rig.give_back, rig.take_away]

    def step(batch: list[Record]) -> Outcome:
        values = [record.value for record in batch]
        if b"more" in values and outages:
            outages.pop()()
            raise RetryLater("Postgres is away")
        if b"gone" in values:
            committed.append(rig.group.committed.get(rig.moving))
        return Outcome(later=[record for record in batch if record.value == b"later"])

    def tick() -> Outcome | None:
        if len(rig.steps) == 1:
            rig.write_to(rig.moving, b"gone", b"gone")
            rig.write_to(rig.steady, b"more")
        return None

    rig.write_to(rig.steady, b"later")
    rig.run(step, until=lambda: bool(committed), tick=tick)
    assert outages == []
    assert committed == [None]
    assert (rig.group.committed[rig.moving], rig.group.committed[rig.steady]) == (2, 0)


class Failing:
    """A sender that cannot reach Kafka the first `times`."""

    def __init__(self, rig: Rig, times: int) -> None:
        self._sender = rig.bus.sender()
        self._times = times

    def send(self, records: Sequence[Outgoing]) -> None:
        if self._times > 0 and records:
            self._times -= 1
            raise RetryLater("Kafka is away", component="kafka")
        self._sender.send(records)


def test_events_in_the_outbox_are_left_to_the_relay(rig: Rig) -> None:
    done: list[str] = []
    rig.sender = Failing(rig, 1)
    rig.write(b"1")
    rig.run(lambda batch: Outcome(echo(batch).records, lambda: done.append("done")))
    assert (rig.steps, rig.out(), done) == ([[b"1"]], [], [])
    assert rig.unread() == []


def test_events_without_an_outbox_are_sent_until_acked(rig: Rig) -> None:
    rig.sender = Failing(rig, 3)
    rig.write(b"1")
    rig.run(echo)
    assert rig.steps == [[b"1"]]  # the transaction is not repeated
    assert rig.out() == [b"1"]
    assert rig.unread() == []


def test_a_record_that_fails_alone_is_parked_and_the_rest_goes_on(rig: Rig) -> None:
    def step(batch: list[Record]) -> Outcome:
        for record in batch:
            int(record.value or b"")
        return echo(batch)

    rig.write(b"1", b"2", b"three", b"4", b"5")
    rig.run(step)
    assert rig.out() == [b"1", b"2", b"4", b"5"]
    (letter,) = rig.bus.records(dlq_of(TOPIC))
    assert (letter.key, letter.value) == (b"one", b"three")
    found = origin(letter)
    assert (found.error, found.topic, found.offset) == ("ValueError", TOPIC, 2)
    assert "invalid literal" in found.reason
    assert rig.unread() == []
    text = rig.process.metrics.text().decode()
    assert f'penstock_dead_letters_total{{topic="{TOPIC}"}} 1.0' in text


def test_a_dead_letter_raised_keeps_its_sentence(rig: Rig) -> None:
    def step(_batch: list[Record]) -> Outcome:
        raise DeadLetter("no tenant")

    rig.write(b"x")
    rig.run(step)
    assert origin(rig.bus.records(dlq_of(TOPIC))[0])[:2] == ("no tenant", "DeadLetter")


def test_records_that_the_step_calls_dead_are_parked_before_the_commit(rig: Rig) -> None:
    rig.sender = Failing(rig, 2)
    rig.write(b"x")
    rig.run(lambda batch: Outcome(dead=[Dead(batch[0], "bad", "DecodeError")]))
    assert rig.out(dlq_of(TOPIC)) == [b"x"]
    assert rig.unread() == []


def test_topics_without_dead_letters_only_go_on(rig: Rig) -> None:
    def step(_batch: list[Record]) -> Outcome:
        raise ValueError("ours")

    rig.write(b"x", topic=JOBS_STATUS.name)
    rig.run(step)
    assert rig.bus.records(dlq_of(JOBS_STATUS.name)) == []
    assert rig.unread() == []


def test_stop_process_ends_the_loop_uncommitted(rig: Rig) -> None:
    def step(_batch: list[Record]) -> Outcome:
        raise StopProcess("migrate first")

    rig.write(b"x")
    with pytest.raises(StopProcess):
        rig.run(step)
    assert rig.unread() == [b"x"]


def test_ticks_come_when_idle_and_their_outcome_is_sent(rig: Rig) -> None:
    done: list[str] = []
    rig.run(
        echo,
        until=lambda: len(done) == 2,
        tick=lambda: Outcome([Outgoing(OUT, "k", b"swept", [])], lambda: done.append("done")),
    )
    assert set(rig.out()) == {b"swept"}


@pytest.mark.parametrize("error", [RetryLater("Postgres is away"), ValueError("a bug")])
def test_a_tick_that_fails_stops_nothing(rig: Rig, error: Exception) -> None:
    def tick() -> Outcome | None:
        raise error

    rig.write(b"1")
    rig.run(echo, until=lambda: rig.out() == [b"1"], tick=tick)


def test_batch_metrics(rig: Rig) -> None:
    rig.write(b"1", b"2")
    rig.run(echo)
    text = rig.process.metrics.text().decode()
    assert 'penstock_batch_size_sum{service="test"} 2.0' in text
    assert 'penstock_step_seconds_count{service="test"} 1.0' in text
    assert f'penstock_consumer_lag{{topic="{TOPIC}"}} 0.0' in text


class Shut:
    """A step that puts off what begins with `l` until `open`."""

    def __init__(self) -> None:
        self.open = False
        self.done: list[bytes | None] = []

    def __call__(self, batch: list[Record]) -> Outcome:
        later = [record for record in batch if not self.open and (record.value or b"").startswith(b"l")]
        now = [record for record in batch if record not in later]
        self.done += [record.value for record in now]
        return Outcome(echo(now).records, later=later)


def test_what_is_put_off_holds_up_nobody_and_is_not_committed(rig: Rig) -> None:
    shut = Shut()

    def tick() -> Outcome | None:
        rig.clock.advance(1.0)
        if len(shut.done) == 3:
            rig.write(b"4")
        return None

    rig.write(b"1", b"later", b"2", b"3")
    rig.run(shut, until=lambda: len(shut.done) == 4, tick=tick)
    assert shut.done == [b"1", b"2", b"3", b"4"]
    assert rig.unread() == [b"later", b"2", b"3", b"4"]


def test_what_was_put_off_is_done_at_last_and_all_is_committed(rig: Rig) -> None:
    shut = Shut()

    def tick() -> Outcome | None:
        rig.clock.advance(1.0)
        shut.open = len(rig.steps) > 4
        return None

    rig.write(b"1", b"later", b"2", b"last")
    rig.run(shut, until=lambda: len(shut.done) == 4, tick=tick)
    assert shut.done == [b"1", b"2", b"later", b"last"]
    assert rig.steps[1:5] == [[b"later", b"last"]] * 4
    assert rig.unread() == []


def test_what_was_put_off_goes_with_its_partition(rig: Rig) -> None:
    other = rig.bus.group([TOPIC, JOBS_STATUS.name], "g")
    rig.source.poll(0)
    rig.bus.groups["g"].leave(other._member)
    shut = Shut()

    def tick() -> Outcome | None:
        rig.clock.advance(1.0)
        if len(rig.steps) == 1:
            rig.bus.groups["g"].join(other._member, rig.bus.partitions_of([TOPIC, JOBS_STATUS.name]))
            rig.bus.groups["g"].shares[rig.source._member] = set()
        return None

    rig.write(b"1", b"later")
    rig.run(shut, tick=tick)
    assert rig.steps == [[b"1", b"later"]]
    rig.bus.groups["g"].shares[other._member] = set(rig.bus.partitions_of([TOPIC]))
    assert [record.value for record in other.poll(0)] == [b"later"]


def test_no_more_is_read_of_a_partition_of_which_too_much_is_put_off_and_others_go_on(rig: Rig) -> None:
    shut = Shut()

    def tick() -> Outcome | None:
        rig.clock.advance(1.0)
        if len(rig.steps) == 1 and not rig.bus.records(JOBS_STATUS.name):
            rig.write(b"2")
            rig.write(b"1", topic=JOBS_STATUS.name)
        shut.open = len(rig.steps) > 3
        return None

    rig.write(*(b"l%d" % n for n in range(MAX_RECORDS)))
    rig.run(shut, until=lambda: len(shut.done) > MAX_RECORDS + 1, tick=tick)
    first = {value: next(n for n, step in enumerate(rig.steps) if value in step) for value in (b"1", b"2")}
    assert first[b"1"] <= 2
    assert first[b"2"] > 3
    assert len(shut.done) == len(set(shut.done)) == MAX_RECORDS + 2
    assert rig.unread() == []


def test_who_comes_behind_a_flood_of_another_partition_waits_for_one_step_of_it(rig: Rig) -> None:
    def tick() -> Outcome | None:
        if len(rig.steps) == 2 and not rig.bus.records(JOBS_STATUS.name):
            rig.write(b"mine", topic=JOBS_STATUS.name)
        return None

    flood = [b"%03d" % n for n in range(20)]
    rig.write(*flood)
    rig.run(echo, until=lambda: len(rig.out()) == 21, tick=tick, share_bytes=6)
    assert rig.steps[:2] == [flood[:2], flood[2:4]]
    assert b"mine" in rig.steps[2]
    assert [value for value in rig.out() if value != b"mine"] == flood
    assert rig.unread() == []


def test_partitions_are_served_in_turn_up_to_the_share() -> None:
    def one(partition: int, offset: int, size: int = 10) -> Record:
        return Record("t", partition, offset, None, bytes(size), None, 0)

    batch = [one(0, 0), one(0, 1), one(0, 2), one(1, 0), one(2, 0, 1000)]
    taken, rest = in_turn(batch, 35)
    assert taken == [one(0, 0), one(1, 0), one(2, 0, 1000)]
    assert rest == [one(0, 1), one(0, 2)]
    assert in_turn(rest, 10) == ([one(0, 1)], [one(0, 2)])
    assert in_turn(batch, 10_000) == ([one(0, 0), one(1, 0), one(2, 0, 1000), one(0, 1), one(0, 2)], [])
    assert in_turn([], 10) == ([], [])
