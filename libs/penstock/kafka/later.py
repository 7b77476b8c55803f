"""Records that a step put off, while those behind them go on.

Nothing of them is written down: they wait in memory, and until they are done no offset behind the first of
them is committed. Whoever reads their partition after us, or we after a restart, reads them again, and with
them what came behind and was done already: a repeat, which changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from penstock.kafka.ports import MAX_RECORDS, Source
from penstock.kafka.records import Partition, Record, positions

AGAIN_SECONDS: Final = 0.25
"""How soon a record that was put off comes again."""
CROWDED_BYTES: Final = 1024 * 1024
"""Of a partition with so much that waits nothing more is to be read until some of it is done."""


class Later:
    """What waits; times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Record]] = []
        """And when it is due."""
        self._reached: dict[Partition, int] = {}
        """Behind the last record of a partition that was done or put off, since something waits."""

    def crowded(self) -> set[Partition]:
        """Partitions of which as much waits as is bearable."""
        records: Counter[Partition] = Counter()
        size: Counter[Partition] = Counter()
        for _, record in self._waiting:
            partition = (record.topic, record.partition)
            records[partition] += 1
            size[partition] += len(record.value or b"")
        return {one for one in records if records[one] >= MAX_RECORDS or size[one] >= CROWDED_BYTES}

    def put_off(self, records: Iterable[Record], due: float) -> None:
        """These are to come again."""
        self._waiting.extend((due, record) for record in records)

    def keep(self, held: Collection[Partition]) -> None:
        """Forget partitions that are not ours any more. Should they come back, they are read anew."""
        self._waiting = [one for one in self._waiting if (one[1].topic, one[1].partition) in held]
        self._reached = {one: offset for one, offset in self._reached.items() if one in held}

    def is_due(self, now: float) -> bool:
        """Whether the time of any has come."""
        return any(due <= now for due, _ in self._waiting)

    def take_due(self, now: float) -> list[Record]:
        """Those whose time has come; the loop owns them now."""
        taken = [record for due, record in self._waiting if due <= now]
        if taken:
            self._waiting = [one for one in self._waiting if one[0] > now]
        return sorted(taken, key=lambda record: record.offset)

    def commit(self, source: Source, done: Sequence[Record]) -> None:
        """State that this batch is done, but for what was put off."""
        if not self._waiting:
            self._reached.clear()
            source.commit()
            return
        for partition, offset in positions(done).items():
            self._reached[partition] = max(offset, self._reached.get(partition, 0))
        upto = dict(self._reached)
        for _, record in self._waiting:
            partition = (record.topic, record.partition)
            upto[partition] = min(record.offset, upto.get(partition, record.offset))
        source.commit(upto)
