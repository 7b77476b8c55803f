"""Reports on their way: everything that waits goes out together, as soon as the last batch is acknowledged.

A report is journalled before it is sent and sent again until it is settled. When an attempt ends before its
start was sent, only the end is told: it implies the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from penstock.core.errors import RejectInput, RetryLater
from penstock.events.jobs import Report, Reports
from penstock.events.workers import Settled
from penstock.runtime.clock import Clock
from penstock.runtime.log import logger
from penstock_services.runner.journal import Entry, Journal
from penstock_services.runner.session import Key
from penstock_services.runner.transport import Transport

REPORTS_PER_RECORD: Final = 2_000
"""So many stay far below a record's limit."""

log = logger(__name__)


class Reporter:
    """Tells what became of attempts."""

    def __init__(
        self, journal: Journal, transport: Transport, session_id: str, clock: Clock, retry_seconds: float
    ) -> None:
        self._journal = journal
        self._transport = transport
        self._session_id = session_id
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._new: dict[Key, Entry] = {}
        self._again: list[Entry] = []
        self._wake = asyncio.Event()
        self._closing = False

    def add(self, pipeline_id: str, report: Report) -> None:
        """Tell this; it takes the place of what is not sent yet of the same attempt."""
        self._new[report.job_id, report.attempt] = Entry(pipeline_id, report)
        self._wake.set()

    def settled(self, settled: list[Settled]) -> None:
        """These were decided: they need not be told again."""
        self._journal.settle(settled)

    def tick(self) -> None:
        """Tell again what was told a while ago and is not settled."""
        self._again = self._journal.due(self._clock.monotonic(), self._retry_seconds)
        if self._again:
            self._wake.set()

    def close(self) -> None:
        """Let `run` return once everything was told; what is not settled stays in the journal."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Tell, until `close`."""
        while not self._closing or self._new:
            await self._wake.wait()
            # Cleared before looking, so that what comes meanwhile wakes the next round.
            self._wake.clear()
            await self._tell()

    async def _tell(self) -> None:
        new, self._new = self._new, {}
        again, self._again = self._again, []
        if new:
            self._journal.append(new.values(), self._clock.monotonic())
        records = list(self._records([*new.values(), *again]))
        if not records:
            return
        try:
            await self._transport.reports(records)
        except (RetryLater, RejectInput) as error:
            log.warning("reports not delivered, they stay in the journal", count=len(new), error=str(error))

    def _records(self, entries: Iterable[Entry]) -> Iterable[Reports]:
        pipelines: dict[str, list[Report]] = {}
        for entry in entries:
            pipelines.setdefault(entry.pipeline_id, []).append(entry.report)
        for pipeline_id, reports in pipelines.items():
            for first in range(0, len(reports), REPORTS_PER_RECORD):
                yield Reports(pipeline_id, self._session_id, reports[first : first + REPORTS_PER_RECORD])
