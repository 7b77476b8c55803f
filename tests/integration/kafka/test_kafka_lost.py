"""Kafka killed, and killed and wiped, under clients that live on."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from penstock.core.errors import RetryLater
from penstock.events.topics import CANCEL_REQUESTED, JOBS_STATUS, PIPELINES_REQUESTED, WORKERS_CONTROL
from penstock.kafka.consumer import GroupSource
from penstock.kafka.partitioner import partition_for
from penstock.kafka.ports import Source
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Record
from penstock.kafka.tail import KeyTail, TailSource
from penstock.local.stack import read_stack
from penstock.runtime.settings import KafkaSettings
from penstock.testing.servers import Stack

WAIT_SECONDS = 120.0
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Servers of its own: others must not lose theirs."""
    made = Stack(["--servers-only"])
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def settings(stack: Stack) -> KafkaSettings:
    return read_stack(stack.folder).kafka_settings()


@pytest.fixture
def producer(settings: KafkaSettings) -> Iterator[Producer]:
    with Producer(settings, "test") as made:
        yield made


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline


def numbered(topic: str, numbers: range) -> list[Outgoing]:
    return [Outgoing(topic, f"key-{number}", str(number).encode(), []) for number in numbers]


def send(producer: Producer, records: list[Outgoing]) -> None:
    """As services do: again, until it is acknowledged."""

    def sent() -> bool:
        with contextlib.suppress(RetryLater):
            producer.send(records)
            return True
        return False

    until(sent)


def read(source: Source, count: int) -> list[int]:
    """So many records from a source, which polls on while Kafka is away."""
    found: list[Record] = []

    def enough() -> bool:
        found.extend(source.poll(0.1))
        return len({record.value for record in found}) >= count

    until(enough)
    return sorted({int(record.value or b"") for record in found})


def test_clients_find_their_way_into_a_new_cluster(
    stack: Stack, settings: KafkaSettings, producer: Producer
) -> None:
    name = f"test-{uuid.uuid4()}"
    group = GroupSource(settings, [PIPELINES_REQUESTED.name], name)
    tail = TailSource(settings, [JOBS_STATUS.name])
    own = KeyTail(settings, [WORKERS_CONTROL.name], "session", name="test")
    moved: list[bool] = []
    own.on_moved = lambda: moved.append(own.positioned())
    assert own.assignment() == {(WORKERS_CONTROL.name, partition_for("session", settings.kafka_partitions))}
    for source, topic in ((group, PIPELINES_REQUESTED.name), (tail, JOBS_STATUS.name)):
        send(producer, numbered(topic, range(200)))
        assert read(source, 200) == list(range(200))
    group.commit()
    before = producer.cluster_id()
    assert group.cluster_id() == before != ""

    stack.kill_kafka(wipe=True)
    # Fewer records than before: a position of the old cluster would lie behind all of them.
    records = [*numbered(PIPELINES_REQUESTED.name, range(50)), *numbered(JOBS_STATUS.name, range(50))]
    send(producer, [*records, Outgoing(WORKERS_CONTROL.name, "session", b"7", [])])
    assert producer.cluster_id() not in ("", before)
    assert read(group, 50) == list(range(50)), "groups start at the earliest record"
    assert read(tail, 50) == list(range(50)), "all that a tail has not seen is new"
    assert read(own, 1) == [7]
    assert moved == [True]
    assert group.cluster_id() == producer.cluster_id()

    # From here on all is as ever, commits included.
    group.commit()
    group.close()
    send(producer, numbered(PIPELINES_REQUESTED.name, range(50, 60)))
    again = GroupSource(settings, [PIPELINES_REQUESTED.name], name)
    assert read(again, 10) == list(range(50, 60))
    for one in (again, tail, own):
        one.close()


def test_a_broker_that_only_died_keeps_positions(
    stack: Stack, settings: KafkaSettings, producer: Producer
) -> None:
    topic, name = CANCEL_REQUESTED.name, f"test-{uuid.uuid4()}"
    first, tail = GroupSource(settings, [topic], name), TailSource(settings, [topic])
    send(producer, numbered(topic, range(20)))
    assert read(first, 20) == read(tail, 20) == list(range(20))
    before = producer.cluster_id()
    # Closed, so that the commit has arrived: a broker away for long loses members, who go back to it.
    first.commit()
    first.close()
    group = GroupSource(settings, [topic], name)
    until(lambda: group.poll(0.1) == [] and group.assignment() != set())
    stack.kill_kafka()
    send(producer, numbered(topic, range(20, 30)))
    assert producer.cluster_id() == before
    assert read(group, 10) == read(tail, 10) == list(range(20, 30))
    group.close()
    tail.close()
