"""An in-memory bus behind the same ports: partitions, groups that rebalance, redelivery from the commits.

For tests and simulation. One contract suite runs against it and against a real broker.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

from penstock.core.errors import RetryLater
from penstock.kafka.partitioner import partition_for
from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Done, Rebalanced, Start
from penstock.kafka.records import Outgoing, Partition, Record
from penstock.runtime.clock import Clock, SystemClock


class MemoryBus:
    """A cluster in this process: every topic exists, with the same number of partitions. Thread-safe."""

    def __init__(self, partitions: int = 8, clock: Clock | None = None, seed: int = 0) -> None:
        self.clock: Clock = clock or SystemClock()
        self.changed = threading.Condition()
        """Held by whoever touches what follows; notified when records come or partitions move."""
        self.logs: defaultdict[Partition, list[Record]] = defaultdict(list)
        self.groups: defaultdict[str, Group] = defaultdict(Group)
        self.away = False
        """While true every send fails, as with no broker in reach."""
        self.order: random.Random | None = None
        """Draws the order in which a poll takes its partitions; None: in turn."""
        self._partitions = partitions
        self._random = random.Random(seed)

    def sender(self) -> MemorySender:
        """A way to write."""
        return MemorySender(self)

    def group(
        self,
        topics: Sequence[str],
        group: str,
        *,
        on_assigned: Rebalanced | None = None,
        on_revoked: Rebalanced | None = None,
    ) -> MemoryGroupSource:
        """A new member of a group; the others let go of its share at their next poll."""
        return MemoryGroupSource(self, topics, group, on_assigned, on_revoked)

    def tail(
        self, topics: Sequence[str] = (), *, partitions: Sequence[Partition] = (), start: Start = "end"
    ) -> MemoryTailSource:
        """A reader without a group."""
        return MemoryTailSource(self, {*partitions, *self.partitions_of(topics)}, start)

    def records(self, topic: str) -> list[Record]:
        """Everything ever written to a topic, by partition and offset."""
        with self.changed:
            return [record for partition in self.partitions_of([topic]) for record in self.logs[partition]]

    def partitions_of(self, topics: Sequence[str]) -> list[Partition]:
        """All partitions of these topics, in order."""
        return [(topic, number) for topic in topics for number in range(self._partitions)]

    def append(self, outgoing: Outgoing) -> None:
        """Write one record; the caller holds `changed`."""
        topic, key, value, headers = outgoing
        data = key.encode() if isinstance(key, str) else key
        number = (
            self._random.randrange(self._partitions)
            if data is None
            else partition_for(data, self._partitions)
        )
        log = self.logs[topic, number]
        now = int(self.clock.now() * 1000)
        log.append(Record(topic, number, len(log), data, value, [*headers] or None, now))


class MemorySender:
    """A `Sender` on the bus."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def send(self, records: Sequence[Outgoing]) -> None:
        """See `Sender.send`."""
        with self._bus.changed:
            if self._bus.away and records:
                raise RetryLater("the bus is away", component="kafka")
            for record in records:
                self._bus.append(record)
            self._bus.changed.notify_all()

    def post(self, records: Sequence[Outgoing], on_done: Done) -> None:
        """See `Sender.post`; here it calls back at once, in this thread."""
        try:
            self.send(records)
        except RetryLater as error:
            on_done(error)
        else:
            on_done(None)

    def partitions(self, topic: str) -> int:
        """See `Sender.partitions`."""
        return len(self._bus.partitions_of([topic]))


class Group:
    """Who is a member of a group, which partitions each holds, how far the work is done."""

    def __init__(self) -> None:
        self.shares: dict[str, set[Partition]] = {}
        """What each member should hold; what it holds until it polls again may differ."""
        self.owners: dict[Partition, str] = {}
        self.committed: dict[Partition, int] = {}
        self._members: dict[str, list[Partition]] = {}

    def join(self, member: str, partitions: list[Partition]) -> None:
        """A new member, which reads topics with these partitions."""
        self._members[member] = partitions
        self._deal()

    def leave(self, member: str) -> None:
        """Its share goes to the others. Idempotent."""
        self._members.pop(member, None)
        self._deal()

    def release(self, member: str, partitions: Iterable[Partition]) -> None:
        """Those of these partitions that it still holds are free."""
        for partition in partitions:
            if self.owners.get(partition) == member:
                del self.owners[partition]

    def _deal(self) -> None:
        self.shares = {member: set() for member in self._members}
        readers: defaultdict[Partition, list[str]] = defaultdict(list)
        for member, partitions in self._members.items():
            for partition in partitions:
                readers[partition].append(member)
        for turn, (partition, names) in enumerate(sorted(readers.items())):
            self.shares[names[turn % len(names)]].add(partition)


class _MemorySource:
    """What both kinds of source share; `_next` is the next offset to hand out, a partition."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._next: dict[Partition, int] = {}
        self._turn = 0
        self._paused: Set[Partition] = frozenset()

    def poll(
        self, timeout: float, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
    ) -> list[Record]:
        """See `Source.poll`."""
        with self._bus.changed:
            self._rebalance()
            if not self._waiting() and timeout > 0:
                self._bus.changed.wait(timeout)
                self._rebalance()
            return self._take(max_records, max_bytes)

    def pause(self, partitions: Set[Partition]) -> None:
        """See `Source.pause`."""
        self._paused = set(partitions)

    def keep_alive(self) -> None:
        """See `Source.keep_alive`."""
        with self._bus.changed:
            self._rebalance()

    def assignment(self) -> set[Partition]:
        """See `Source.assignment`."""
        return set(self._next)

    def lag(self) -> dict[str, int]:
        """See `Source.lag`."""
        behind: defaultdict[str, int] = defaultdict(int)
        with self._bus.changed:
            for partition, offset in self._next.items():
                behind[partition[0]] += len(self._bus.logs[partition]) - offset
        return dict(behind)

    def _rebalance(self) -> None:
        """Let go of partitions and take new ones; the caller holds `changed`."""

    def _waiting(self) -> bool:
        return any(len(self._bus.logs[partition]) > self._next[partition] for partition in self._open())

    def _take(self, max_records: int, max_bytes: int) -> list[Record]:
        batch: list[Record] = []
        room = max_bytes
        for partition in self._ordered():
            for record in self._bus.logs[partition][self._next[partition] :]:
                room -= len(record.key or b"") + len(record.value or b"")
                if len(batch) == max_records or (room < 0 and batch):
                    return batch
                batch.append(record)
                self._next[partition] += 1
        return batch

    def _open(self) -> set[Partition]:
        return self._next.keys() - self._paused

    def _ordered(self) -> list[Partition]:
        order = sorted(self._open())
        if self._bus.order is not None:
            return self._bus.order.sample(order, len(order))
        self._turn += 1
        start = self._turn % len(order) if order else 0
        return order[start:] + order[:start]


class MemoryGroupSource(_MemorySource):
    """A member of a group. Partitions move as with KIP-848: the new owner waits until the old one lets go."""

    def __init__(
        self,
        bus: MemoryBus,
        topics: Sequence[str],
        group: str,
        on_assigned: Rebalanced | None,
        on_revoked: Rebalanced | None,
    ) -> None:
        super().__init__(bus)
        self._group = bus.groups[group]
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._member = str(uuid.uuid4())
        self._partitions = bus.partitions_of(topics)
        self._polled = False
        self._fenced = False
        with bus.changed:
            self._group.join(self._member, self._partitions)

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        """See `Source.commit`."""
        with self._bus.changed:
            for partition, offset in (self._next if upto is None else upto).items():
                owned = partition in self._next and self._group.owners.get(partition) == self._member
                if owned and offset > self._group.committed.get(partition, -1):
                    self._group.committed[partition] = offset

    def positioned(self) -> bool:
        """See `Source.positioned`."""
        return self._polled

    def close(self) -> None:
        """See `Source.close`."""
        with self._bus.changed:
            self._let_go(set(self._next))
            self._group.leave(self._member)

    def fence(self) -> None:
        """It was silent for too long, as a broker finds: others have its share at once.

        The member learns of it at its next poll, and joins again; until then its commits count for nothing.
        """
        with self._bus.changed:
            self._group.release(self._member, self._next)
            self._group.leave(self._member)
            self._fenced = True
            self._bus.changed.notify_all()

    def _rebalance(self) -> None:
        self._polled = True
        if self._fenced:
            self._fenced = False
            self._let_go(set(self._next))
            self._group.join(self._member, self._partitions)
        share = self._group.shares[self._member]
        self._let_go(set(self._next) - share)
        new = share - set(self._group.owners)
        for partition in new:
            self._group.owners[partition] = self._member
            self._next[partition] = self._group.committed.get(partition, 0)
        if new and self._on_assigned is not None:
            self._on_assigned(new)

    def _let_go(self, gone: set[Partition]) -> None:
        self._group.release(self._member, gone)
        for partition in gone:
            del self._next[partition]
        if gone:
            self._bus.changed.notify_all()
            if self._on_revoked is not None:
                self._on_revoked(gone)


class MemoryTailSource(_MemorySource):
    """A reader without a group, placed when it is made."""

    def __init__(self, bus: MemoryBus, partitions: set[Partition], start: Start) -> None:
        super().__init__(bus)
        with bus.changed:
            self._next = {partition: self._place(partition, start) for partition in partitions}

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        """Nothing to state: there is no group."""

    def positioned(self) -> bool:
        """See `Source.positioned`."""
        return True

    def close(self) -> None:
        """Read no more."""
        self._next.clear()

    def _place(self, partition: Partition, start: Start) -> int:
        log = self._bus.logs[partition]
        if isinstance(start, Mapping):
            return start.get(partition, 0)
        if isinstance(start, str):
            return 0 if start == "earliest" else len(log)
        since = int((self._bus.clock.now() - start) * 1000)
        return next((record.offset for record in log if record.timestamp_ms >= since), len(log))
