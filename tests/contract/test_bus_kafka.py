"""What only a real broker can show: topics, dead letters, errors, ownership, feeds across threads."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pytest

from penstock.core.errors import RejectInput, RetryLater, StopProcess
from penstock.events.topics import (
    JOBS_REPORTS,
    JOBS_STATUS,
    PIPELINES_REQUESTED,
    WARMUP,
    Topic,
    dlq_of,
)
from penstock.kafka import tail
from penstock.kafka.admin import apply_topics, diff_topics
from penstock.kafka.batches import Outcome
from penstock.kafka.consumer import GroupSource
from penstock.kafka.dlq import DeadLetters, DlqCounter, dead_letter, origin
from penstock.kafka.feeds import Feeds
from penstock.kafka.loop import run_loop
from penstock.kafka.probe import probe
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Record
from penstock.kafka.tail import TailSource
from penstock.runtime.run import Process
from penstock.runtime.settings import KafkaSettings

NOBODY = KafkaSettings(kafka_bootstrap="127.0.0.1:9")


@pytest.fixture(scope="module")
def applied(kafka_settings: KafkaSettings) -> KafkaSettings:
    apply_topics(kafka_settings)
    return kafka_settings


@pytest.fixture(scope="module")
def producer(applied: KafkaSettings) -> Iterator[Producer]:
    with Producer(applied, "test") as producer:
        yield producer


def a_topic(**more: object) -> Topic:
    name = f"test.{uuid.uuid4()}"
    return Topic(name=name, key="any", about="A test's.", retention_ms=3_600_000, **more)  # type: ignore[arg-type]


def test_topics_are_applied_once(kafka_settings: KafkaSettings) -> None:
    topic = a_topic(dlq=True, flush_each=True)
    assert [words.split(":")[0] for words in diff_topics(kafka_settings, [topic])] == [
        topic.name,
        dlq_of(topic.name),
    ]
    assert len(apply_topics(kafka_settings, [topic])) == 2
    assert diff_topics(kafka_settings, [topic]) == []
    assert apply_topics(kafka_settings, [topic]) == []


def test_partitions_and_settings_are_mended(kafka_settings: KafkaSettings) -> None:
    topic = a_topic(partitioned=False)
    apply_topics(kafka_settings, [topic])
    grown = Topic(name=topic.name, key="any", about="Now partitioned.", retention_ms=60_000)
    wider = KafkaSettings(kafka_bootstrap=kafka_settings.kafka_bootstrap, kafka_partitions=3)
    differences = [
        f"{topic.name}: 1 partitions, wanted 3",
        f"{topic.name}: retention.ms is 3600000, wanted 60000",
    ]
    assert diff_topics(wider, [grown]) == differences
    assert apply_topics(wider, [grown]) == differences
    assert diff_topics(wider, [grown]) == []
    fewer = KafkaSettings(kafka_bootstrap=kafka_settings.kafka_bootstrap, kafka_partitions=2)
    assert diff_topics(fewer, [grown]) == [
        f"{topic.name}: 3 partitions, wanted 2 (partitions cannot be taken away)"
    ]
    assert apply_topics(fewer, [grown]) == []


def test_new_partitions_are_found_by_a_tail(kafka_settings: KafkaSettings, producer: Producer) -> None:
    class Impatient:
        """A clock by which it is time to look again at every poll."""

        def __init__(self) -> None:
            self.ticks = 0.0

        def now(self) -> float:
            return 0.0

        def monotonic(self) -> float:
            self.ticks += 100.0
            return self.ticks

        def sleep(self, seconds: float, wake: threading.Event) -> bool:
            return wake.wait(seconds)

    topic = a_topic(partitioned=False)
    apply_topics(kafka_settings, [topic])
    tail = TailSource(kafka_settings, [topic.name], clock=Impatient())
    wider = KafkaSettings(kafka_bootstrap=kafka_settings.kafka_bootstrap, kafka_partitions=3)
    grown = Topic(name=topic.name, key="any", about="Now partitioned.", retention_ms=3_600_000)
    apply_topics(wider, [grown])
    while len(tail.assignment()) < 3:
        tail.poll(0.05)
    fresh = Producer(kafka_settings, "test")
    fresh.send([Outgoing(topic.name, f"k{n}", b"", []) for n in range(30)])
    found: list[Record] = []
    while len(found) < 30:
        found += tail.poll(0.05)
    assert len({record.partition for record in found}) == 3
    tail.close()
    fresh.close()


def test_probe_and_cluster_id(applied: KafkaSettings, producer: Producer) -> None:
    assert probe(applied, 10.0) == producer.cluster_id() != ""


def test_nobody_there_means_retry_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "ASK_SECONDS", 0.5)
    with pytest.raises(RetryLater) as raised:
        probe(NOBODY, 0.5)
    assert raised.value.component == "kafka"
    with pytest.raises(RetryLater):
        TailSource(NOBODY, ["any"])
    producer = Producer(NOBODY, "test", delivery_timeout_ms=500)
    with pytest.raises(RetryLater):
        producer.warm_up([], seconds=0.5)
    with pytest.raises(RetryLater):
        producer.send([Outgoing("any", "k", b"", [])])
    assert producer.cluster_id() == ""
    producer.close(0.1)


def test_a_missing_topic_is_named(applied: KafkaSettings, producer: Producer) -> None:
    with pytest.raises(StopProcess, match="topics apply"):
        producer.warm_up(["test.no-such-topic"], seconds=0.3)
    with pytest.raises(StopProcess, match="topics apply"):
        TailSource(applied, ["test.no-such-topic"])
    with pytest.raises(StopProcess, match="topics apply"):
        DeadLetters(applied, "test.no-such-topic.dlq")


def test_a_record_that_is_too_large_is_refused(producer: Producer) -> None:
    for size in (2_000_000, 7_000_000):  # by the topic, by the client
        with pytest.raises(RejectInput, match="too large"):
            producer.send(
                [
                    Outgoing(WARMUP.name, None, b"", []),
                    Outgoing(PIPELINES_REQUESTED.name, "t", b"x" * size, []),
                ]
            )


def test_a_full_queue_never_blocks_a_post() -> None:
    producer = Producer(NOBODY, "test", delivery_timeout_ms=500)
    told: list[Exception | None] = []
    done = threading.Event()

    def on_done(error: Exception | None) -> None:
        told.append(error)
        done.set()

    producer.post([Outgoing("any", "k", b"", [])] * 100_001, on_done)  # one more than the client holds
    assert done.wait(30)
    assert [str(error) for error in told] == ["the queue to Kafka is full"]
    producer.close(0.1)


def test_a_rebuilt_producer_goes_on(applied: KafkaSettings) -> None:
    producer = Producer(applied, "test")
    producer.send([Outgoing(WARMUP.name, None, None, [])])
    producer.rebuild()
    producer.send([Outgoing(WARMUP.name, None, None, [])])
    producer.close()


def test_a_rebuilt_source_reads_on_from_its_commits(
    kafka_settings: KafkaSettings, producer: Producer
) -> None:
    topic = a_topic(partitioned=False)
    apply_topics(kafka_settings, [topic])
    gone: list[set[tuple[str, int]]] = []
    source = GroupSource(kafka_settings, [topic.name], topic.name, on_revoked=gone.append)
    producer.send([Outgoing(topic.name, "k", b"1", [])])
    assert [record.value for record in poll_for(source, 1)] == [b"1"]
    source.commit()
    source.rebuild()
    assert gone[0] == {(topic.name, 0)}
    producer.send([Outgoing(topic.name, "k", b"2", [])])
    assert [record.value for record in poll_for(source, 1)] == [b"2"]
    source.close()


def test_positions_of_another_cluster_are_not_committed(
    kafka_settings: KafkaSettings, producer: Producer
) -> None:
    topic = a_topic(partitioned=False)
    apply_topics(kafka_settings, [topic])
    producer.send([Outgoing(topic.name, "k", str(n).encode(), []) for n in range(3)])
    source = GroupSource(kafka_settings, [topic.name], topic.name)
    assert len(poll_for(source, 3)) == 3
    source.commit({(topic.name, 0): 1})
    source.commit({(topic.name, 0): 4000})  # this client never handed out so many
    source.close()
    again = GroupSource(kafka_settings, [topic.name], topic.name)
    assert [record.value for record in poll_for(again, 2)] == [b"1", b"2"]
    again.close()


def poll_for(source: GroupSource, count: int) -> list[Record]:
    found: list[Record] = []
    while len(found) < count:
        found += source.poll(0.05)
    return found


def assert_nothing_left(settings: KafkaSettings, topic: str) -> None:
    """The group of that topic's name has committed all of it."""
    source = GroupSource(settings, [topic], topic)
    while not source.positioned():
        assert source.poll(0.05) == []
    assert [source.poll(0.05) for _ in range(5)] == [[]] * 5
    source.close()


def test_a_consumer_belongs_to_one_thread(applied: KafkaSettings) -> None:
    source = GroupSource(applied, [JOBS_STATUS.name], f"test-{uuid.uuid4()}")
    source.poll(0)
    raised: list[BaseException] = []

    def intrude() -> None:
        try:
            source.commit()
        except AssertionError as error:
            raised.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(raised) == 1
    source.close()


@pytest.fixture
def letters(applied: KafkaSettings, producer: Producer) -> Iterator[DeadLetters]:
    """The dead letters of a topic, the last four of which are this test's, numbered by their values."""
    topic = JOBS_REPORTS.name
    sent = [Record(topic, 3, 40 + n, b"\xff", str(n).encode(), [("ce_id", b"1")], 0) for n in range(4)]
    producer.send([dead_letter(one, f"why {n}", "ValueError", 0.0) for n, one in enumerate(sent)])
    with DeadLetters(applied, dlq_of(topic)) as found:
        yield found


def values(settings: KafkaSettings, ids: slice) -> list[bytes | None]:
    """Of the dead letters that are there now."""
    with DeadLetters(settings, dlq_of(JOBS_REPORTS.name)) as found:
        return [letter.value for letter in found.read(found.ids[ids])]


def test_dead_letters_are_read_back(applied: KafkaSettings, letters: DeadLetters) -> None:
    newest = list(letters.read(letters.ids[-2:]))
    assert [origin(letter).reason for letter in newest] == ["why 2", "why 3"]
    assert (newest[0].key, newest[0].value) == (b"\xff", b"2")
    assert origin(newest[0]).offset == 42
    assert list(letters.read([])) == []
    assert DlqCounter(applied).depths(30)[dlq_of(JOBS_REPORTS.name)] == len(letters.ids)


def test_dead_letters_go_back_to_their_topic(
    applied: KafkaSettings, producer: Producer, letters: DeadLetters
) -> None:
    tail = TailSource(applied, [JOBS_REPORTS.name])
    assert letters.replay(producer, letters.chosen(letters.ids[-3:-1])) == 2
    found: list[Record] = []
    while len(found) < 2:
        found += tail.poll(0.05)
    tail.close()
    assert [(record.key, record.value) for record in found] == [(b"\xff", b"1"), (b"\xff", b"2")]
    assert found[0].headers == [("ce_id", b"1"), ("penstock-dlq-replays", b"1")]
    left = values(applied, slice(None))
    assert left[0] == b"3", "only what is older than the youngest that left is written again"
    assert left[-1] == b"0"
    assert len(left) == len(letters.ids) - 2


def test_dead_letters_are_dropped(applied: KafkaSettings, producer: Producer, letters: DeadLetters) -> None:
    with pytest.raises(RejectInput, match=f"no record {letters.ids.stop}"):
        letters.chosen([letters.ids.start, letters.ids.stop])
    assert letters.drop(producer, letters.chosen([])) == len(letters.ids)
    assert values(applied, slice(None)) == []
    with DeadLetters(applied, dlq_of(JOBS_REPORTS.name)) as empty:
        assert empty.drop(producer, empty.chosen([])) == 0
        with pytest.raises(RejectInput, match="no record 0"):
            empty.chosen([0])


def test_feeds_merge_a_group_and_a_tail(kafka_settings: KafkaSettings, producer: Producer) -> None:
    one, two = a_topic(), a_topic()
    apply_topics(kafka_settings, [one, two])
    group = GroupSource(kafka_settings, [one.name], one.name)
    feeds = Feeds({"jobs": group, "hints": TailSource(kafka_settings, [two.name])})
    feeds.start()
    while not feeds.positioned():
        feeds.get(0.05)
    producer.send([Outgoing(topic.name, f"k{n}", b"", []) for topic in (one, two) for n in range(100)])
    found: dict[str, int] = {"jobs": 0, "hints": 0}
    while sum(found.values()) < 200:
        got = feeds.get(0.1)
        if got is not None:
            name, records = got
            assert {record.topic for record in records} == {one.name if name == "jobs" else two.name}
            found[name] += len(records)
            feeds.commit(name, records)
    assert found == {"jobs": 100, "hints": 100}
    feeds.close()
    assert_nothing_left(kafka_settings, one.name)


def test_the_loop_carries_a_batch_past_its_poison(kafka_settings: KafkaSettings, producer: Producer) -> None:
    topic, echoed = a_topic(dlq=True), a_topic()
    apply_topics(kafka_settings, [topic, echoed])
    tail = TailSource(kafka_settings, [echoed.name])
    records = [Outgoing(topic.name, "one", str(n).encode(), []) for n in range(50)]
    producer.send([*records[:20], Outgoing(topic.name, "one", b"poison", []), *records[20:]])

    def step(batch: list[Record], _now: float) -> Outcome:
        numbers = [int(record.value or b"") for record in batch]
        return Outcome([Outgoing(echoed.name, "one", str(number).encode(), []) for number in numbers])

    process = Process("test")
    source = GroupSource(kafka_settings, [topic.name], topic.name)
    thread = threading.Thread(target=run_loop, args=(process, source, step, producer))
    thread.start()
    found: list[Record] = []
    while len(found) < 50:
        found += tail.poll(0.05)
    process.stop()
    thread.join()
    tail.close()
    assert process.is_ready()
    assert [record.value for record in found] == [record.value for record in records]
    with DeadLetters(kafka_settings, dlq_of(topic.name)) as parked:
        (letter,) = parked.read(parked.ids)
    assert letter.value == b"poison"
    assert (origin(letter).topic, origin(letter).offset) == (topic.name, 20)
    assert_nothing_left(kafka_settings, topic.name)
