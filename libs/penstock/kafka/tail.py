"""Reading without a group: partitions chosen here, from offsets asked for before the first fetch.

A consumer that merely starts "at the end" loses what is written before its first fetch is placed; a
`TailSource` knows its offsets when its constructor returns, so nothing written later can be missed.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Final

from confluent_kafka import KafkaException, TopicPartition

from penstock.core.errors import PenstockError, StopProcess
from penstock.kafka.client import translate
from penstock.kafka.partitioner import partition_for
from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Start
from penstock.kafka.reader import Reader, gathering
from penstock.kafka.records import Partition, Record
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings

ASK_SECONDS: Final = 5.0
"""A question of the broker waits so long at most."""
AGAIN_SECONDS: Final = 0.1
FIRST: Final = -2
BEHIND: Final = -1
"""Times that stand for the beginning and the end of a partition."""
REDISCOVER_SECONDS: Final = 60.0
"""How often to look for partitions that were added to the topics."""

log = logger(__name__)


class TailSource:
    """A `Source` over all partitions of `topics`, or over exactly `partitions`. It commits nothing.

    When the cluster is another one it begins anew with the first record of each partition: all of them were
    written since.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str] = (),
        *,
        partitions: Sequence[Partition] = (),
        start: Start = "end",
        name: str = "penstock-tail",
        gather_seconds: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """Find the partitions and their offsets. `gather_seconds`: see `gathering`.

        Raises:
            RetryLater: no broker answered in time.
            StopProcess: a topic does not exist.
        """
        self._settings = settings
        self._name = name
        self._topics = list(topics)
        self._partitions = frozenset(partitions)
        self.on_moved: Callable[[], None] | None = None
        """Told, in the polling thread, once it is placed in another cluster."""
        self._gather_seconds = gather_seconds
        self._clock: Clock = clock or SystemClock()
        self._reader = self._connect()
        self._owned: set[Partition] = set()
        try:
            self._begin(start)
        except PenstockError:
            self._reader.consumer.close()
            raise
        self._placed = True

    def poll(
        self, timeout: float, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
    ) -> list[Record]:
        """See `Source.poll`."""
        if self._reader.moved():
            self._leave()
        if not self._placed and not self._begin_again():
            self._clock.sleep(min(timeout, AGAIN_SECONDS), threading.Event())
            return []
        if self._topics and self._clock.monotonic() - self._discovered >= REDISCOVER_SECONDS:
            self._add_new_partitions()
        return self._reader.take(timeout, max_records, max_bytes)

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        """Nothing to state: there is no group."""

    def pause(self, partitions: Set[Partition]) -> None:
        """See `Source.pause`."""
        self._reader.pause(partitions)

    def keep_alive(self) -> None:
        """See `Source.keep_alive`."""
        self._reader.hold()

    def assignment(self) -> set[Partition]:
        """See `Source.assignment`."""
        return set(self._owned)

    def positioned(self) -> bool:
        """See `Source.positioned`: true but for the moments before it is placed in another cluster."""
        return self._placed

    def lag(self) -> dict[str, int]:
        """See `Source.lag`."""
        return self._reader.lag()

    def marks(self) -> dict[Partition, tuple[int, int]]:
        """The first offset of each partition and the one behind its last, as the broker knows them now.

        Raises:
            RetryLater: no broker answered in time.
        """
        try:
            first, behind = self._offsets(self._owned, FIRST), self._offsets(self._owned, BEHIND)
        except KafkaException as error:
            raise translate(error, "cannot find how far to read") from error
        return {partition: (first[partition], behind[partition]) for partition in self._owned}

    def close(self) -> None:
        """Close the client."""
        self._reader.own()
        self._reader.consumer.close()

    def _connect(self) -> Reader:
        # The client insists on a group's name; a group that is never joined leaves nothing behind.
        config = {"group.id": f"{self._name}-{uuid.uuid4()}", **gathering(self._gather_seconds)}
        return Reader(self._settings, self._name, config, self._clock)

    def _leave(self) -> None:
        """The cluster is another one: nothing of what this client knows is true there."""
        self._reader.consumer.close()
        self._reader = self._connect()
        self._owned.clear()
        self._placed = False

    def _begin_again(self) -> bool:
        """Try to be placed in the new cluster; until its topics are made that cannot be."""
        try:
            self._assign("earliest")
        except (KafkaException, StopProcess) as error:
            log.info("not placed yet", client=self._name, error=str(error))
            return False
        log.warning("placed anew", client=self._name, partitions=len(self._owned))
        self._placed = True
        if self.on_moved is not None:
            self.on_moved()
        return True

    def _begin(self, start: Start) -> None:
        """Find and assign what to read; tried for a while, for a new topic has no leaders for a moment."""
        deadline = self._clock.monotonic() + ASK_SECONDS
        never = threading.Event()
        while True:
            try:
                self._assign(start)
            except KafkaException as error:
                if self._clock.monotonic() >= deadline:
                    raise translate(error, "cannot find where to read") from error
                self._clock.sleep(AGAIN_SECONDS, never)
            else:
                return

    def _assign(self, start: Start) -> None:
        owned = self._partitions | self._discover(required=True)
        self._reader.consumer.assign(self._place(owned, start))
        self._owned = set(owned)
        self._reader.moved()  # these offsets are this cluster's
        self._discovered = self._clock.monotonic()

    def _discover(self, *, required: bool) -> set[Partition]:
        found: set[Partition] = set()
        for topic in self._topics:
            metadata = self._reader.consumer.list_topics(topic, timeout=ASK_SECONDS).topics[topic]
            if not metadata.partitions and required:
                raise StopProcess(f"topic {topic} is missing; run `penstock topics apply`")
            found |= {(topic, number) for number in self._wanted(len(metadata.partitions))}
        return found

    def _wanted(self, count: int) -> Collection[int]:
        """Which of so many partitions of a topic are read."""
        return range(count)

    def _place(self, partitions: Set[Partition], start: Start) -> list[TopicPartition]:
        if isinstance(start, Mapping):
            return [TopicPartition(*p, start.get(p, self._marks(p)[0])) for p in partitions]
        if isinstance(start, str):
            side = 0 if start == "earliest" else 1
            return [TopicPartition(*p, self._marks(p)[side]) for p in partitions]
        since = int((self._clock.now() - start) * 1000)
        asked = [TopicPartition(*p, since) for p in partitions]
        found = self._reader.consumer.offsets_for_times(asked, timeout=ASK_SECONDS)
        # Nothing as young as that: the end.
        return [
            p
            if p.offset >= 0
            else TopicPartition(p.topic, p.partition, self._marks((p.topic, p.partition))[1])
            for p in found
        ]

    def _offsets(self, partitions: Set[Partition], at: int) -> dict[Partition, int]:
        """One question for all of them: one a partition would wait behind a fetch each."""
        asked = [TopicPartition(*partition, at) for partition in partitions]
        found = self._reader.consumer.offsets_for_times(asked, timeout=ASK_SECONDS)
        return {(one.topic, one.partition): one.offset for one in found}

    def _marks(self, partition: Partition) -> tuple[int, int]:
        marks = self._reader.consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ASK_SECONDS)
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


class KeyTail(TailSource):
    """Of each topic only the partition of one key."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        key: str,
        *,
        name: str,
        clock: Clock | None = None,
    ) -> None:
        """As `TailSource`, which see."""
        self._key = key
        super().__init__(settings, topics, name=name, clock=clock)

    def _wanted(self, count: int) -> Collection[int]:
        return [partition_for(self._key, count)] if count else ()
