"""Records that a step put off, while those behind them go on.

Nothing of them is written down: they wait in memory, and until they are done no offset behind the first of
them is committed. Whoever reads their partition after us, or we after a restart, reads them again, and with
them what came behind and was done already: a repeat, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Source
from penstock.kafka.records import Partition, Record, positions

AGAIN_SECONDS: Final = 0.25
"""How soon a record that was put off comes again."""


class Later:
    """What waits; times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: list[Record] = []
        self._due = 0.0
        self._reached: dict[Partition, int] = {}
        """Behind the last record of a partition that was done or put off, since something waits."""

    def full(self) -> bool:
        """As much waits as is bearable: nothing more is to be read until some of it is done."""
        size = sum(len(record.value or b"") for record in self._waiting)
        return len(self._waiting) >= MAX_RECORDS or size >= MAX_BYTES

    def put_off(self, records: Sequence[Record], now: float) -> None:
        """These are to come again."""
        if records:
            self._waiting.extend(records)
            self._due = now + AGAIN_SECONDS

    def take_due(self, now: float, held: Collection[Partition]) -> list[Record]:
        """Those whose time has come, of the partitions that are still ours; the loop owns them now."""
        if not self._waiting or now < self._due:
            return []
        taken, self._waiting = self._waiting, []
        return sorted(
            (record for record in taken if (record.topic, record.partition) in held),
            key=lambda record: record.offset,
        )

    def commit(self, source: Source, done: Sequence[Record]) -> None:
        """State that this batch is done, but for what was put off."""
        if not self._waiting:
            self._reached.clear()
            source.commit()
            return
        for partition, offset in positions(done).items():
            self._reached[partition] = max(offset, self._reached.get(partition, 0))
        upto = dict(self._reached)
        for record in self._waiting:
            partition = (record.topic, record.partition)
            upto[partition] = min(record.offset, upto.get(partition, record.offset))
        source.commit(upto)
