"""Dead letters: a record nobody can handle, parked beside its topic with why and whence in its headers.

A letter's id is its offset in the dead-letter topic, which has one partition. Kafka forgets records only from
the beginning of a topic: letters that shall stay although younger ones leave are written once more at its
end, under a new id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Self

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from penstock.core.errors import Problem, RejectInput, RetryLater, StopProcess
from penstock.events.envelope import Headers, header
from penstock.events.topics import DLQ_SUFFIX, TOPICS, dlq_of
from penstock.kafka.client import client_config, translate
from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Sender
from penstock.kafka.reader import Reader
from penstock.kafka.records import Outgoing, Record
from penstock.runtime.clock import Clock, SystemClock, rfc3339
from penstock.runtime.settings import KafkaSettings

PREFIX: Final = "penstock-dlq-"
REPLAYS: Final = PREFIX + "replays"
"""Header of a record that came out of the dead letters: how often it did."""
REASON_CHARACTERS: Final = 1000
READ_SECONDS: Final = 10.0
"""How long a broker may take for an answer, or for the next records."""
COUNT_SECONDS: Final = 2.0
"""How long counting may take: who counts has other work."""

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
    replays: int = 0
    """How often it was sent to its topic again and came back."""


def dead_letter(record: Record, reason: str, error: str, now: float) -> Outgoing:
    """The record for the dead-letter topic: key and value unchanged, the original headers kept.

    `error` is the class of the error (`ValueError`), or empty when there was none.
    """
    kept = [(name, value or b"") for name, value in record.headers or () if not name.startswith(PREFIX)]
    added = Origin(
        reason[:REASON_CHARACTERS], error, record.topic, record.partition, record.offset, rfc3339(now),
        _number(header(record.headers, REPLAYS), 0),
    )  # fmt: skip
    headers = [(PREFIX + name, str(value).encode()) for name, value in added._asdict().items()]
    return Outgoing(dlq_of(record.topic), record.key, record.value, kept + headers)


def origin(record: Record) -> Origin:
    """Why this record of a dead-letter topic is dead; what its headers lack is empty or -1."""
    text = {name: header(record.headers, PREFIX + name) for name in Origin._fields}
    return Origin(
        text["reason"],
        text["error"],
        text["topic"] or record.topic.removesuffix(DLQ_SUFFIX),
        _number(text["partition"], -1),
        _number(text["offset"], -1),
        text["at"],
        _number(text["replays"], 0),
    )


def replayed(letter: Record) -> Outgoing:
    """The record as its topic had it, with the header that says that it comes again.

    Raises:
        RejectInput: its headers name a topic whose dead letters do not lie here.
    """
    whence = origin(letter)
    if dlq_of(whence.topic) != letter.topic:
        raise RejectInput(
            Problem(
                f"record {letter.offset} says that it was in {whence.topic}, whose dead letters are not here",
                hint="drop it, or copy it by hand to where it belongs",
            )
        )
    kept = [(name, value or b"") for name, value in letter.headers or () if not name.startswith(PREFIX)]
    again = (REPLAYS, str(whence.replays + 1).encode())
    return Outgoing(whence.topic, letter.key, letter.value, [*kept, again])


def has_dlq(topic: str) -> bool:
    """Whether records of this topic are parked: not on topics that only repeat what Postgres knows."""
    return topic not in _WITHOUT


class DlqCounter:
    """Counts the letters of all dead-letter topics; not thread-safe."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin: AdminClient | None = None

    def depths(self, seconds: float = COUNT_SECONDS) -> dict[str, int]:
        """How many records lie in each dead-letter topic. Waits at most twice `seconds`.

        Raises:
            RetryLater: no broker answered in time, or a topic is missing.
        """
        if self._admin is None:
            self._admin = AdminClient(client_config(self._settings, "penstock-dlq"))
        low = self._offsets(self._admin, OffsetSpec.earliest(), seconds)  # type: ignore[no-untyped-call]
        high = self._offsets(self._admin, OffsetSpec.latest(), seconds)  # type: ignore[no-untyped-call]
        return {topic: high[topic] - low[topic] for topic in low}

    def _offsets(self, admin: AdminClient, spec: OffsetSpec, seconds: float) -> dict[str, int]:
        wanted = {TopicPartition(dlq_of(topic), 0): spec for topic in sorted(_WITH)}
        try:
            asked = admin.list_offsets(wanted, request_timeout=seconds)
            return {where.topic: future.result(seconds).offset for where, future in asked.items()}
        except (KafkaException, TimeoutError) as error:
            self._admin = None  # the next count begins anew
            if isinstance(error, KafkaException):
                raise translate(error, "cannot count dead letters") from error
            raise RetryLater("counting dead letters took too long", component="kafka") from error


class DeadLetters:
    """The letters of one topic (`….dlq`), to be looked at, sent again or dropped. As a context manager."""

    def __init__(self, settings: KafkaSettings, topic: str, clock: Clock | None = None) -> None:
        """Find it.

        Raises:
            RetryLater: no broker answered in time.
            StopProcess: the topic does not exist.
        """
        self._settings = settings
        self._topic = topic
        self._clock: Clock = clock or SystemClock()
        self._reader = Reader(settings, "penstock-dlq", {"group.id": "penstock-dlq"}, self._clock)
        try:
            self.ids = range(*self._marks())
            """Of all letters there were when this was made."""
        except BaseException:
            self._reader.consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._reader.consumer.close()

    def chosen(self, ids: Sequence[int]) -> Sequence[int]:
        """These ids, sorted, each once; all of them when none is given.

        Raises:
            RejectInput: one is not there.
        """
        missing = [str(one) for one in ids if one not in self.ids]
        if missing:
            there = f"there are {self.ids[0]} to {self.ids[-1]}" if self.ids else "it is empty"
            raise RejectInput(Problem(f"{self._topic} has no record {', '.join(missing)}", hint=there))
        return sorted(set(ids)) or self.ids

    def read(self, ids: Sequence[int]) -> Iterator[Record]:
        """The letters of these ids, which are sorted.

        Raises:
            RetryLater: no broker answered in time.
        """
        wanted = set(ids)
        upto = max(wanted, default=-1)
        if not wanted:
            return
        self._reader.consumer.assign([TopicPartition(self._topic, 0, min(wanted))])
        heard = self._clock.monotonic()
        while True:
            for record in self._reader.take(0.2, MAX_RECORDS, MAX_BYTES):
                heard = self._clock.monotonic()
                if record.offset in wanted:
                    yield record
                if record.offset >= upto:
                    return
            if self._clock.monotonic() - heard > READ_SECONDS:
                raise RetryLater(f"{self._topic} could not be read to its end", component="kafka")

    def replay(self, sender: Sender, ids: Sequence[int]) -> int:
        """Send these to their topics again, then forget them here; returns how many.

        A crash in between sends them twice, as any record may come twice.

        Raises:
            RetryLater: not all were acknowledged; what was sent stays here, too.
            RejectInput: one does not belong here; nothing of its batch was sent.
        """
        for batch in _batches(self.read(ids)):
            sender.send([replayed(letter) for letter in batch])
        self.drop(sender, ids)
        return len(ids)

    def drop(self, sender: Sender, ids: Sequence[int]) -> int:
        """Forget these; returns how many. Older ones that stay get new ids.

        Raises:
            RetryLater: no broker answered in time; letters may be here twice.
        """
        if not ids:
            return 0
        upto = ids[-1] + 1
        gone = set(ids)
        kept = [one for one in range(self.ids.start, upto) if one not in gone]
        for batch in _batches(self.read(kept)):
            sender.send([Outgoing(r.topic, r.key, r.value, _plain(r)) for r in batch])
        admin = AdminClient(client_config(self._settings, "penstock-dlq"))
        where = TopicPartition(self._topic, 0, upto)
        try:
            admin.delete_records([where])[where].result(READ_SECONDS)
        except KafkaException as error:
            raise translate(error, f"cannot drop records of {self._topic}") from error
        except TimeoutError as error:
            raise RetryLater(f"dropping records of {self._topic} took too long", component="kafka") from error
        return len(ids)

    def _marks(self) -> tuple[int, int]:
        consumer, topic = self._reader.consumer, self._topic
        try:
            if topic not in consumer.list_topics(timeout=READ_SECONDS).topics:
                raise StopProcess(f"topic {topic} is missing; run `penstock topics apply`")
            marks = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=READ_SECONDS)
        except KafkaException as error:
            raise translate(error, f"cannot read {topic}") from error
        assert marks is not None
        return marks


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.value or b"")
        if len(batch) >= MAX_RECORDS or size >= MAX_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _plain(record: Record) -> Headers:
    return [(name, value or b"") for name, value in record.headers or ()]


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() else otherwise
