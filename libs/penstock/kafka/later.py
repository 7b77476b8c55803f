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
            if not self._waiting:  # Who joins others comes with them: else a stream would hold them up.
                self._due = now + AGAIN_SECONDS
            self._waiting.extend(records)

    def keep(self, held: Collection[Partition]) -> None:
        """Forget partitions that are not ours any more. Should they come back, they are read anew."""
        self._waiting = [one for one in self._waiting if (one.topic, one.partition) in held]
        self._reached = {one: offset for one, offset in self._reached.items() if one in held}

    def take_due(self, now: float) -> list[Record]:
        """Those whose time has come; the loop owns them now."""
        if not self._waiting or now < self._due:
            return []
        taken, self._waiting = self._waiting, []
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
        for record in self._waiting:
            partition = (record.topic, record.partition)
            upto[partition] = min(record.offset, upto.get(partition, record.offset))
        source.commit(upto)
