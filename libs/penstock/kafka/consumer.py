"""Consuming in a group: partitions come and go, offsets are committed after the work is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock.core.errors import StopProcess
from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Rebalanced
from penstock.kafka.reader import Reader, as_set, gathering
from penstock.kafka.records import Partition, Record
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings

COMMIT_SECONDS = 0.25
"""Offsets are committed so often at most: a commit is a request and a record, a repeat is harmless."""
STANDBY_SECONDS = 3.0
"""A member that got no partition by then stands by: the group has more members than partitions."""
STRANDED_SECONDS = 15.0
"""One that has none for so long joins anew, and again each time after twice as long as before."""
STRANDED_AT_MOST = 240.0
"""The longest that it waits until then."""

log = logger(__name__)


class GroupSource:
    """A `Source` whose partitions are shared out among the group by the broker (KIP-848).

    It joins at its first poll. A new group starts at the earliest record. A partition that is taken away
    takes its uncommitted records with it: its next owner reads them again, and compare-and-swap makes that
    harmless.

    Seen after a broker's restarts: a member that is alive by its heartbeats and is never given the partitions
    that are kept for it, so that nobody reads them. So whoever has none joins anew from time to time; for one
    that merely stands by that changes nothing.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        group: str,
        *,
        on_assigned: Rebalanced | None = None,
        on_revoked: Rebalanced | None = None,
        gather_seconds: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        """`gather_seconds`: see `gathering`."""
        self._settings = settings
        self._topics = list(topics)
        self._group = group
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._config = {"group.id": group, "group.protocol": "consumer", **gathering(gather_seconds)}
        self._clock: Clock = clock or SystemClock()
        self._done: dict[Partition, int] = {}
        """What was stated as done, a partition."""
        self._pending: dict[Partition, int] = {}
        """Of that, what no commit has carried yet."""
        self._next_commit = 0.0
        self._owned: set[Partition] = set()
        self._assigned_once = False
        self._first_poll: float | None = None
        self._joined = False
        self._alone_since = 0.0
        self._patience = STRANDED_SECONDS
        self._reader = self._connect()

    def poll(
        self, timeout: float, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
    ) -> list[Record]:
        """See `Source.poll`."""
        if self._reader.errors.fatal or self._reader.moved():
            self.rebuild()
        elif self._is_stranded():
            self._patience = min(2 * self._patience, STRANDED_AT_MOST)
            self.rebuild()
        if self._first_poll is None:
            self._first_poll = self._clock.monotonic()
        if not self._joined:
            self._join()
        self._commit_if_due()
        return self._reader.take(timeout, max_records, max_bytes)

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        """See `Source.commit`."""
        self._reader.own()
        handed_out = self._reader.next_offsets()
        reached = handed_out if upto is None else upto
        # Never beyond what this client handed out: positions of another cluster may still be in hand.
        news = {
            p: n
            for p, n in reached.items()
            if p in self._owned and self._done.get(p, -1) < n <= handed_out.get(p, -1)
        }
        self._done.update(news)
        self._pending.update(news)
        self._commit_if_due()

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
        """See `Source.positioned`: true once partitions were assigned, or when there are none to have."""
        waited = 0.0 if self._first_poll is None else self._clock.monotonic() - self._first_poll
        return self._assigned_once or waited >= STANDBY_SECONDS

    def lag(self) -> dict[str, int]:
        """See `Source.lag`."""
        return self._reader.lag()

    def rebuild(self) -> None:
        """Leave and join with a new client: after a fatal error, or when the cluster is another one."""
        log.warning("consumer rebuilt", group=self._group)
        self._reader.consumer.close()
        if self._owned:
            self._revoked(set(self._owned))
        self._reader = self._connect()
        self._joined = False

    def cluster_id(self) -> str:
        """The id of the cluster that is read; empty before a broker was met. Asks nobody."""
        return self._reader.cluster.known

    def close(self) -> None:
        """See `Source.close`."""
        self._reader.own()
        if self._done:
            try:
                self._reader.consumer.commit(offsets=_offsets(self._done), asynchronous=False)
            except KafkaException as error:
                log.warning("last offsets not committed", group=self._group, error=str(error))
        self._reader.consumer.close()

    def _is_stranded(self) -> bool:
        """Whether it has had no partition for too long."""
        if self._owned or not self._joined:
            return False
        return self._clock.monotonic() - self._alone_since >= self._patience

    def _commit_if_due(self) -> None:
        now = self._clock.monotonic()
        if self._pending and now >= self._next_commit:
            self._next_commit = now + COMMIT_SECONDS
            self._reader.consumer.commit(offsets=_offsets(self._pending), asynchronous=True)
            self._pending = {}

    def _connect(self) -> Reader:
        return Reader(self._settings, self._group, self._config)

    def _join(self) -> None:
        """Only once somebody polls: a member that does not poll would hold its partitions up."""
        try:
            self._reader.consumer.subscribe(
                self._topics, on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke
            )
        except KafkaException as error:
            raise StopProcess(f"cannot subscribe to {', '.join(self._topics)}: {error}") from error
        self._joined = True
        self._alone_since = self._clock.monotonic()

    def _assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        new = as_set(partitions)
        self._owned |= new
        self._assigned_once = True
        if new:
            self._patience = STRANDED_SECONDS
        log.info("partitions assigned", group=self._group, partitions=sorted(new))
        if self._on_assigned is not None:
            self._on_assigned(new)

    def _revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._revoked(as_set(partitions))

    def _revoked(self, gone: set[Partition]) -> None:
        self._owned -= gone
        self._alone_since = self._clock.monotonic()
        self._reader.forget(gone)
        for partition in gone:
            self._done.pop(partition, None)
            self._pending.pop(partition, None)
        log.info("partitions revoked", group=self._group, partitions=sorted(gone))
        if self._on_revoked is not None:
            self._on_revoked(gone)


def _offsets(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number, offset) for (topic, number), offset in positions.items()]
