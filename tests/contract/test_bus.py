"""One suite for every bus: the in-memory one and a real broker, through the same ports."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from penstock.kafka.consumer import GroupSource
from penstock.kafka.memory import MemoryBus
from penstock.kafka.partitioner import partition_for
from penstock.kafka.ports import Sender, Source
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Partition, Record
from penstock.kafka.tail import TailSource
from penstock.runtime.settings import KafkaSettings

PARTITIONS = 4


class Bus(Protocol):
    """What the suite needs of a bus."""

    def topic(self) -> str: ...
    def sender(self) -> Sender: ...
    def group(self, topic: str, group: str, **hooks: Any) -> Source: ...
    def tail(self, topic: str | None, **more: Any) -> Source: ...


class InMemory:
    def __init__(self) -> None:
        self._bus = MemoryBus(PARTITIONS)

    def topic(self) -> str:
        return str(uuid.uuid4())

    def sender(self) -> Sender:
        return self._bus.sender()

    def group(self, topic: str, group: str, **hooks: Any) -> Source:
        return self._bus.group([topic], group, **hooks)

    def tail(self, topic: str | None, **more: Any) -> Source:
        return self._bus.tail([topic] if topic else [], **more)


class OnKafka:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
        self.producer = Producer(settings, "test")

    def topic(self) -> str:
        name = f"test.{uuid.uuid4()}"
        config = {"message.timestamp.type": "LogAppendTime"}
        self._admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config)])[name].result()
        return name

    def sender(self) -> Sender:
        return self.producer

    def group(self, topic: str, group: str, **hooks: Any) -> Source:
        return GroupSource(self._settings, [topic], group, **hooks)

    def tail(self, topic: str | None, **more: Any) -> Source:
        return TailSource(self._settings, [topic] if topic else [], **more)


@pytest.fixture(params=["memory", "kafka"], scope="module")
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    if request.param == "memory":
        yield InMemory()
        return
    on_kafka = OnKafka(request.getfixturevalue("kafka_settings"))
    yield on_kafka
    on_kafka.producer.close()


@pytest.fixture
def topic(bus: Bus) -> str:
    return bus.topic()


@pytest.fixture
def opened() -> Iterator[Callable[[Source], Source]]:
    """Closes what a test opened."""
    sources: list[Source] = []

    def keep(source: Source) -> Source:
        sources.append(source)
        return source

    yield keep
    for source in sources:
        source.close()


Opened = Callable[[Source], Source]


def outgoing(topic: str, count: int, value: bytes = b"{}") -> list[Outgoing]:
    return [Outgoing(topic, f"key-{number}", value, [("n", str(number).encode())]) for number in range(count)]


def read(source: Source, count: int) -> list[Record]:
    """Poll until that many records came."""
    return read_all(count, source)


def quiet(source: Source) -> list[Record]:
    """What comes although nothing should."""
    return [record for _ in range(5) for record in source.poll(0.05)]


def until(condition: Callable[[], bool], *sources: Source) -> list[Record]:
    """Poll these until the condition holds; whatever came."""
    found: list[Record] = []
    while not condition():
        for source in sources:
            found += source.poll(0.02)
    return found


def read_all(count: int, *sources: Source) -> list[Record]:
    """Poll these until that many records came from all of them together."""
    found: list[Record] = []
    while len(found) < count:
        for source in sources:
            found += source.poll(0.02)
    return found


def values(records: list[Record]) -> list[bytes]:
    return sorted((r.headers or [("", b"")])[0][1] or b"" for r in records)


def test_a_record_arrives_as_it_was_sent(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    bus.sender().send([Outgoing(topic, "clé", b'{"a":1}', [("ce_id", b"1"), ("ce_id", b"2")])])
    (record,) = read(tail, 1)
    assert record.topic == topic
    assert record.partition == partition_for("clé", PARTITIONS)
    assert record.offset == 0
    assert record.key == "clé".encode()
    assert record.value == b'{"a":1}'
    assert record.headers == [("ce_id", b"1"), ("ce_id", b"2")]
    assert record.timestamp_ms > 1_600_000_000_000


def test_keys_go_where_the_partitioner_says(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    keys = [str(uuid.uuid4()) for _ in range(100)] + ["a", "ab", "abc", "abcd", "ü", "x" * 301]
    bus.sender().send([Outgoing(topic, key, b"", []) for key in keys])
    for record in read(tail, len(keys)):
        assert record.key is not None
        assert record.partition == partition_for(record.key, PARTITIONS)


def test_tombstones_and_records_without_key(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    bus.sender().send([Outgoing(topic, None, None, []), Outgoing(topic, b"\xff\x00", b"", [])])
    found = {record.key: record for record in read(tail, 2)}
    assert found[None].value is None
    assert found[b"\xff\x00"].value == b""
    assert found[None].headers is None


def test_order_is_kept_per_key(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    bus.sender().send([Outgoing(topic, f"k{n % 7}", str(n).encode(), []) for n in range(500)])
    by_key: dict[bytes | None, list[int]] = {}
    for record in read(tail, 500):
        by_key.setdefault(record.key, []).append(int(record.value or b""))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_post_calls_back_once(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    told: list[Exception | None] = []
    acked = threading.Event()

    def done(error: Exception | None) -> None:
        told.append(error)
        acked.set()

    bus.sender().post(outgoing(topic, 50), done)
    assert acked.wait(10)
    assert len(read(tail, 50)) == 50
    bus.sender().post([], done)
    assert told == [None, None]


def test_a_sender_knows_how_many_partitions_a_topic_has(bus: Bus, topic: str) -> None:
    assert bus.sender().partitions(topic) == PARTITIONS


def test_sending_nothing_is_fine(bus: Bus) -> None:
    bus.sender().send([])


def test_a_tail_misses_nothing_after_it_was_made(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 5))
    tail = opened(bus.tail(topic))
    bus.sender().send(outgoing(topic, 20))
    assert tail.positioned()
    assert values(read(tail, 20)) == values_of(20)
    assert quiet(tail) == []


def values_of(count: int) -> list[bytes]:
    return sorted(str(number).encode() for number in range(count))


def test_a_tail_from_the_earliest(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 5))
    assert len(read(opened(bus.tail(topic, start="earliest")), 5)) == 5


def test_a_tail_from_some_seconds_back(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 5))
    assert len(read(opened(bus.tail(topic, start=60.0)), 5)) == 5
    later = opened(bus.tail(topic, start=-60.0))  # nothing is as young as that: the end
    assert quiet(later) == []
    bus.sender().send(outgoing(topic, 3))
    assert len(read(later, 3)) == 3


def test_a_tail_of_one_partition_from_an_offset(bus: Bus, topic: str, opened: Opened) -> None:
    partition: Partition = (topic, partition_for("key", PARTITIONS))
    bus.sender().send([Outgoing(topic, "key", str(n).encode(), []) for n in range(10)])
    bus.sender().send(outgoing(topic, 10))
    tail = opened(bus.tail(None, partitions=[partition], start={partition: 7}))
    assert tail.assignment() == {partition}
    assert [record.value for record in read(tail, 3)][:3] == [b"7", b"8", b"9"]


def test_batches_are_bounded_by_records(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    bus.sender().send(outgoing(topic, 50))
    sizes: list[int] = []
    while sum(sizes) < 50:
        sizes.append(len(tail.poll(0.2, max_records=7)))
    assert max(sizes) == 7


def test_batches_are_bounded_by_bytes_and_never_empty(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    bus.sender().send(outgoing(topic, 20, b"x" * 1000))
    found = 0
    while found < 20:
        batch = tail.poll(0.2, max_bytes=3500)
        assert len(batch) <= 3
        found += len(batch)
    bus.sender().send(outgoing(topic, 1, b"x" * 5000))
    batch = []
    while not batch:
        batch = tail.poll(0.2, max_bytes=3500)
    assert len(batch) == 1


def test_lag_counts_what_was_not_handed_out(bus: Bus, topic: str, opened: Opened) -> None:
    tail = opened(bus.tail(topic))
    bus.sender().send([Outgoing(topic, "one", b"x", []) for _ in range(10)])
    batch: list[Record] = []
    while not batch:
        batch = tail.poll(0.2, max_records=4)
    assert tail.lag() == {topic: 10 - len(batch)}


def test_a_group_begins_at_the_earliest_record(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 5))
    source = opened(bus.group(topic, f"{topic}-g"))
    assert values(read(source, 5)) == values_of(5)
    assert source.positioned()
    assert source.assignment() == {(topic, number) for number in range(PARTITIONS)}


def test_what_is_committed_is_not_read_again(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 10))
    first = bus.group(topic, f"{topic}-g")
    read(first, 10)
    first.commit()
    first.close()
    bus.sender().send(outgoing(topic, 3))
    second = opened(bus.group(topic, f"{topic}-g"))
    assert len(read(second, 3)) == 3
    assert quiet(second) == []


def test_what_is_not_committed_is_read_again(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 10))
    first = bus.group(topic, f"{topic}-g")
    read(first, 10)
    first.close()
    assert values(read(opened(bus.group(topic, f"{topic}-g")), 10)) == values_of(10)


def test_commit_up_to_positions(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send([Outgoing(topic, "one", str(n).encode(), []) for n in range(10)])
    partition = (topic, partition_for("one", PARTITIONS))
    first = bus.group(topic, f"{topic}-g")
    read(first, 10)
    first.commit({partition: 6})
    first.commit({partition: 4})  # a position behind: nothing to state
    first.close()
    second = opened(bus.group(topic, f"{topic}-g"))
    assert [record.value for record in read(second, 4)] == [b"6", b"7", b"8", b"9"]


def test_keep_alive_takes_no_record(bus: Bus, topic: str, opened: Opened) -> None:
    source = opened(bus.group(topic, f"{topic}-g"))
    until(source.positioned, source)
    bus.sender().send(outgoing(topic, 10))
    for _ in range(5):
        source.keep_alive()
    bus.sender().send(outgoing(topic, 10))
    assert len(read(source, 20)) == 20
    assert quiet(source) == []


def test_a_paused_partition_waits_and_loses_nothing(bus: Bus, topic: str, opened: Opened) -> None:
    source = opened(bus.group(topic, f"{topic}-g"))
    until(lambda: len(source.assignment()) == PARTITIONS, source)
    shut = (topic, partition_for("key-0", PARTITIONS))
    bus.sender().send(outgoing(topic, 10))
    came = read(source, 10)
    source.pause({shut})
    bus.sender().send(outgoing(topic, 10))
    others = sum(record.partition != shut[1] for record in came)
    assert {record.partition for record in read(source, others)} == {r.partition for r in came} - {shut[1]}
    source.keep_alive()
    assert quiet(source) == [], "also when all were held up meanwhile"
    source.pause(set())
    assert [r.offset for r in read(source, 10 - others)] == list(range(10 - others, 2 * (10 - others)))
    assert quiet(source) == []


def test_a_second_member_takes_its_share_and_gives_it_back(bus: Bus, topic: str, opened: Opened) -> None:
    came: list[set[Partition]] = []
    gone: list[set[Partition]] = []
    first = opened(bus.group(topic, f"{topic}-g", on_assigned=came.append, on_revoked=gone.append))
    until(lambda: len(first.assignment()) == PARTITIONS, first)
    second = bus.group(topic, f"{topic}-g")
    until(lambda: len(first.assignment()) == len(second.assignment()) == PARTITIONS // 2, first, second)
    assert not first.assignment() & second.assignment()
    assert gone == [second.assignment()]

    bus.sender().send(outgoing(topic, 40))
    assert values(read_all(40, first, second)) == values_of(40)
    first.commit()
    second.commit()
    second.close()
    assert until(lambda: len(first.assignment()) == PARTITIONS, first) == []
    assert set().union(*came) == {(topic, number) for number in range(PARTITIONS)}
    assert quiet(first) == []


def test_a_lost_partition_is_not_committed(bus: Bus, topic: str, opened: Opened) -> None:
    bus.sender().send(outgoing(topic, 40))
    first = opened(bus.group(topic, f"{topic}-g"))
    read_once = read(first, 40)
    second = opened(bus.group(topic, f"{topic}-g"))
    again: list[Record] = []
    while len(second.assignment()) != PARTITIONS // 2:
        first.keep_alive()  # the batch is still in hand
        again += second.poll(0.02)
    first.commit()
    moved = [record for record in read_once if (record.topic, record.partition) in second.assignment()]
    again += read(second, len(moved) - len(again))
    assert sorted(again) == sorted(moved)


def test_a_member_without_partitions_stands_by(bus: Bus, topic: str, opened: Opened) -> None:
    members = [opened(bus.group(topic, f"{topic}-g")) for _ in range(PARTITIONS + 1)]
    until(lambda: all(member.positioned() for member in members), *members)
    until(lambda: sum(len(member.assignment()) for member in members) == PARTITIONS, *members)
