"""Dead letters: a record nobody can handle, parked beside its topic with why and whence in its headers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from confluent_kafka import KafkaException, TopicPartition

from penstock.core.errors import RetryLater, StopProcess
from penstock.events.envelope import header
from penstock.events.topics import DLQ_SUFFIX, TOPICS, dlq_of
from penstock.kafka.client import translate
from penstock.kafka.ports import MAX_BYTES
from penstock.kafka.reader import Reader
from penstock.kafka.records import Outgoing, Record
from penstock.runtime.clock import Clock, SystemClock, rfc3339
from penstock.runtime.settings import KafkaSettings

PREFIX: Final = "penstock-dlq-"
REASON_CHARACTERS: Final = 1000
READ_SECONDS: Final = 10.0
"""How long reading a dead-letter topic may take."""

_WITH: Final = frozenset(topic.name for topic in TOPICS if topic.dlq)
_WITHOUT: Final = frozenset(topic.name for topic in TOPICS if not topic.dlq)


class Origin(NamedTuple):
    """Why a record is dead and where it lay."""

    reason: str
    error: str
    topic: str
    partition: int
    offset: int
    at: str


def dead_letter(record: Record, reason: str, error: str, now: float) -> Outgoing:
    """The record for the dead-letter topic: key and value unchanged, the original headers kept.

    `error` is the class of the error (`ValueError`), or empty when there was none.
    """
    kept = [(name, value or b"") for name, value in record.headers or () if not name.startswith(PREFIX)]
    added = Origin(
        reason[:REASON_CHARACTERS], error, record.topic, record.partition, record.offset, rfc3339(now)
    )
    headers = [(PREFIX + name, str(value).encode()) for name, value in added._asdict().items()]
    return Outgoing(dlq_of(record.topic), record.key, record.value, kept + headers)


def origin(record: Record) -> Origin:
    """Why this record of a dead-letter topic is dead; what its headers lack is empty or -1."""
    text = {name: header(record.headers, PREFIX + name) for name in Origin._fields}
    return Origin(
        text["reason"],
        text["error"],
        text["topic"] or record.topic.removesuffix(DLQ_SUFFIX),
        int(text["partition"]) if text["partition"].isdigit() else -1,
        int(text["offset"]) if text["offset"].isdigit() else -1,
        text["at"],
    )


def has_dlq(topic: str) -> bool:
    """Whether records of this topic are parked: not on topics that only repeat what Postgres knows."""
    return topic not in _WITHOUT


def dlq_depths(settings: KafkaSettings) -> dict[str, int]:
    """How many records lie in each dead-letter topic.

    Raises:
        RetryLater: no broker answered in time.
        StopProcess: a dead-letter topic does not exist.
    """
    with _reader(settings) as reader:
        marks = {topic: _marks(reader, dlq_of(topic)) for topic in sorted(_WITH)}
    return {dlq_of(topic): high - low for topic, (low, high) in marks.items()}


def read_dlq(settings: KafkaSettings, topic: str, limit: int, clock: Clock | None = None) -> list[Record]:
    """The newest records of a dead-letter topic (the `….dlq`), at most `limit`, oldest first.

    Raises:
        RetryLater: no broker answered in time.
        StopProcess: the topic does not exist.
    """
    clock = clock or SystemClock()
    with _reader(settings) as reader:
        low, high = _marks(reader, topic)
        begin = max(low, high - limit)
        reader.consumer.assign([TopicPartition(topic, 0, begin)])
        found: list[Record] = []
        deadline = clock.monotonic() + READ_SECONDS
        while len(found) < high - begin:
            found += reader.take(0.2, limit, MAX_BYTES)
            if clock.monotonic() > deadline:
                raise RetryLater(f"{topic} could not be read to its end", component="kafka")
        return found[: high - begin]


@contextmanager
def _reader(settings: KafkaSettings) -> Iterator[Reader]:
    reader = Reader(settings, "penstock-dlq", {"group.id": "penstock-dlq"})
    try:
        yield reader
    finally:
        reader.consumer.close()


def _marks(reader: Reader, topic: str) -> tuple[int, int]:
    try:
        if topic not in reader.consumer.list_topics(timeout=READ_SECONDS).topics:
            raise StopProcess(f"topic {topic} is missing; run `penstock topics apply`")
        marks = reader.consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=READ_SECONDS)
    except KafkaException as error:
        raise translate(error, f"cannot read {topic}") from error
    assert marks is not None
    return marks
