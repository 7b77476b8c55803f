"""A consuming client in the hands of one thread: batches bounded in records and bytes, positions, lag.

librdkafka's Python client makes every call from a second thread wait until the first one's returns, a poll
included, so a `Reader` belongs to the thread that polls it first, and asserts it.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Set
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from penstock.core.errors import StopProcess
from penstock.kafka.client import Cluster, Errors, client_config
from penstock.kafka.records import Partition, Record
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings

CONSUMING: Final[dict[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # Never a silent jump to the end: what was lost there would be lost for good.
    "auto.offset.reset": "earliest",
    # At its default, a full local queue stops fetching for a whole second.
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 8192,
}
GATHER_BYTES: Final = 256 * 1024

log = logger(__name__)


def gathering(seconds: float) -> dict[str, Any]:
    """Configuration of a client for records that can wait for so long: the broker answers a fetch that late,
    or once there is much. Each answer has its price, for the broker and for whoever acts on it. 0: at once.
    """
    return {"fetch.min.bytes": GATHER_BYTES, "fetch.wait.max.ms": round(seconds * 1000)} if seconds else {}


class Reader:
    """Wraps one confluent_kafka.Consumer; the base of sources with and without a group."""

    def __init__(
        self, settings: KafkaSettings, name: str, config: dict[str, Any], clock: Clock | None = None
    ) -> None:
        self.errors = Errors(name, clock or SystemClock())
        self.cluster = Cluster(name)
        self._thread: int | None = None
        self._pending: deque[Record] = deque()
        self._next: dict[Partition, int] = {}
        self._held = False
        self._paused: set[Partition] = set()
        whole = {
            **client_config(settings, name),
            **CONSUMING,
            "error_cb": self.errors.note,
            "on_commit": _on_commit,
            **config,
        }
        try:
            self.consumer = Consumer(whole)
        except KafkaException as error:
            raise StopProcess(f"Kafka settings: {error.args[0].str()}") from error

    def take(self, timeout: float, max_records: int, max_bytes: int) -> list[Record]:
        """The next batch; see `Source.poll`."""
        self.own()
        if self._held:
            self._held = False
            self.consumer.resume(
                [p for p in self.consumer.assignment() if (p.topic, p.partition) not in self._paused]
            )
        if not self._pending:
            # Not consume(n, timeout): it waits for n records or the whole timeout.
            first = self.consumer.poll(timeout)
            if first is None:
                return []
            self._keep((first,))
            self._keep(self.consumer.consume(max_records - 1, 0))
        return self._hand_out(max_records, max_bytes)

    def pause(self, partitions: Set[Partition]) -> None:
        """See `Source.pause`."""
        self.own()
        if partitions == self._paused:
            return
        assigned = self.consumer.assignment()
        for change, which in (
            (self.consumer.pause, partitions - self._paused),
            (self.consumer.resume, self._paused - partitions),
        ):
            change([p for p in assigned if (p.topic, p.partition) in which])
        self._paused = set(partitions)

    def hold(self) -> None:
        """Serve the client without taking records: fetching is paused until the next `take`."""
        self.own()
        self._held = True
        self.consumer.pause(self.consumer.assignment())
        first = self.consumer.poll(0)
        if first is not None:
            self._keep((first,))

    def moved(self) -> bool:
        """Whether it now reads another cluster than before: this client is of no more use."""
        return self.cluster.moved(self.consumer)

    def next_offsets(self) -> dict[Partition, int]:
        """The offset behind the last record handed out, a partition."""
        return self._next

    def forget(self, partitions: Collection[Partition]) -> None:
        """These were taken away: hand out nothing more of them."""
        self._pending = deque(r for r in self._pending if (r.topic, r.partition) not in partitions)
        for partition in partitions:
            self._next.pop(partition, None)
            self._paused.discard(partition)

    def lag(self) -> dict[str, int]:
        """See `Source.lag`."""
        behind: defaultdict[str, int] = defaultdict(int)
        for (topic, partition), offset in self._next.items():
            marks = self.consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            behind[topic] += max(0, marks[1] - offset) if marks else 0
        return dict(behind)

    def own(self) -> None:
        """Take the client for this thread, or assert that it is its owner."""
        me = threading.get_ident()
        if self._thread is None:
            self._thread = me
        assert self._thread == me, "a consumer belongs to the thread that polled it first"

    def _keep(self, messages: Iterable[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                self.errors.note(error)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            headers: Any = message.headers()
            self._pending.append(
                Record(
                    topic, partition, offset, message.key(), message.value(), headers, message.timestamp()[1]
                )
            )

    def _hand_out(self, max_records: int, max_bytes: int) -> list[Record]:
        batch: list[Record] = []
        room = max_bytes
        pending = self._pending
        while pending and len(batch) < max_records:
            record = pending[0]
            room -= len(record.key or b"") + len(record.value or b"")
            if room < 0 and batch:
                break
            batch.append(pending.popleft())
            self._next[record.topic, record.partition] = record.offset + 1
        return batch


def _on_commit(error: KafkaError | None, partitions: list[TopicPartition]) -> None:
    for failed in (p for p in partitions if p.error is not None):
        log.warning(
            "offset not committed", place=f"{failed.topic}[{failed.partition}]", error=str(failed.error)
        )
    if error is not None and not partitions:
        log.warning("offsets not committed", error=error.str())


def as_set(partitions: Iterable[TopicPartition]) -> set[Partition]:
    """The client's list as plain pairs."""
    return {(p.topic, p.partition) for p in partitions}
