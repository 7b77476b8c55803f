"""Reading without a group: partitions chosen here, from offsets asked for before the first fetch.

A consumer that merely starts "at the end" loses what is written before its first fetch is placed; a
`TailSource` knows its offsets when its constructor returns, so nothing written later can be missed.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from penstock.core.errors import PenstockError, StopProcess
from penstock.kafka.client import translate
from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Start
from penstock.kafka.reader import Reader
from penstock.kafka.records import Partition, Record
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings

ASK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.1
REDISCOVER_SECONDS: Final = 60.0
"""How often to look for partitions that were added to the topics."""

log = logger(__name__)


class TailSource:
    """A `Source` over all partitions of `topics`, or over exactly `partitions`. It commits nothing."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str] = (),
        *,
        partitions: Sequence[Partition] = (),
        start: Start = "end",
        name: str = "penstock-tail",
        ask_seconds: float = ASK_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        """Find the partitions and their offsets; each question waits at most `ask_seconds`.

        Raises:
            RetryLater: no broker answered in time.
            StopProcess: a topic does not exist.
        """
        self._topics = list(topics)
        self._ask_seconds = ask_seconds
        self._clock: Clock = clock or SystemClock()
        # The client insists on a group's name; a group that is never joined leaves nothing behind.
        self._reader = Reader(settings, name, {"group.id": f"{name}-{uuid.uuid4()}"}, self._clock)
        try:
            self._owned = self._begin(set(partitions), start)
        except PenstockError:
            self._reader.consumer.close()
            raise
        self._discovered = self._clock.monotonic()

    def poll(
        self, timeout: float, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
    ) -> list[Record]:
        """See `Source.poll`."""
        if self._topics and self._clock.monotonic() - self._discovered >= REDISCOVER_SECONDS:
            self._add_new_partitions()
        return self._reader.take(timeout, max_records, max_bytes)

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        """Nothing to state: there is no group."""

    def keep_alive(self) -> None:
        """See `Source.keep_alive`."""
        self._reader.hold()

    def assignment(self) -> set[Partition]:
        """See `Source.assignment`."""
        return set(self._owned)

    def positioned(self) -> bool:
        """True from the start: the constructor placed it."""
        return True

    def lag(self) -> dict[str, int]:
        """See `Source.lag`."""
        return self._reader.lag()

    def close(self) -> None:
        """Close the client."""
        self._reader.own()
        self._reader.consumer.close()

    def _begin(self, partitions: set[Partition], start: Start) -> set[Partition]:
        """Find and assign what to read; tried for a while, for a new topic has no leaders for a moment."""
        deadline = self._clock.monotonic() + self._ask_seconds
        never = threading.Event()
        while True:
            try:
                owned = partitions | self._discover(required=True)
                self._reader.consumer.assign(self._place(owned, start))
            except KafkaException as error:
                if self._clock.monotonic() >= deadline:
                    raise translate(error, "cannot find where to read") from error
                self._clock.sleep(AGAIN_SECONDS, never)
            else:
                return owned

    def _discover(self, *, required: bool) -> set[Partition]:
        found: set[Partition] = set()
        for topic in self._topics:
            metadata = self._reader.consumer.list_topics(topic, timeout=self._ask_seconds).topics[topic]
            if not metadata.partitions and required:
                raise StopProcess(f"topic {topic} is missing; run `penstock topics apply`")
            found |= {(topic, number) for number in metadata.partitions}
        return found

    def _place(self, partitions: set[Partition], start: Start) -> list[TopicPartition]:
        if isinstance(start, Mapping):
            return [TopicPartition(*p, start.get(p, self._marks(p)[0])) for p in partitions]
        if isinstance(start, str):
            side = 0 if start == "earliest" else 1
            return [TopicPartition(*p, self._marks(p)[side]) for p in partitions]
        since = int((self._clock.now() - start) * 1000)
        asked = [TopicPartition(*p, since) for p in partitions]
        found = self._reader.consumer.offsets_for_times(asked, timeout=self._ask_seconds)
        # Nothing as young as that: the end.
        return [
            p
            if p.offset >= 0
            else TopicPartition(p.topic, p.partition, self._marks((p.topic, p.partition))[1])
            for p in found
        ]

    def _marks(self, partition: Partition) -> tuple[int, int]:
        marks = self._reader.consumer.get_watermark_offsets(
            TopicPartition(*partition), timeout=self._ask_seconds
        )
        assert marks is not None
        return marks

    def _add_new_partitions(self) -> None:
        self._discovered = self._clock.monotonic()
        try:
            new = self._discover(required=False) - self._owned
        except KafkaException as error:
            log.warning("partitions not looked up", error=str(error))
            return
        if new:
            log.info("partitions found", partitions=sorted(new))
            self._owned |= new
            self._reader.consumer.incremental_assign([TopicPartition(*p, 0) for p in new])
