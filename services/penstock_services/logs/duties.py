"""What a replica does in Postgres by the clock: say where it is reached, close logs whose end never came."""

from __future__ import annotations

from typing import Final

from penstock.core.errors import RetryLater
from penstock.runtime.log import logger
from penstock.store import logs, workers
from penstock.store.database import Database
from penstock.store.logs import Head, IndexItem, LogKey
from penstock_services.logs.memory import Memory

REGISTER_SECONDS: Final = 5.0
HOLD_OFF_SECONDS: Final = 15.0

log = logger(__name__)


class Duties:
    """Of one replica; all but `hurry` and `hold_off` belong to the thread of the connection."""

    def __init__(
        self,
        memory: Memory,
        *,
        session_id: str,
        name: str,
        address: str,
        close_seconds: float,
        sweep_seconds: float,
    ) -> None:
        self._memory = memory
        self._session_id = session_id
        self._name = name
        self._address = address
        self._close_seconds = close_seconds
        self._sweep_seconds = sweep_seconds
        self._register_at = 0.0
        self._sweep_at = 0.0

    def hurry(self) -> None:
        """The partitions changed."""
        self._register_at = 0.0

    def hold_off(self, now: float) -> None:
        """Frames wait to be read: what looks like a log without an end may have it there."""
        self._sweep_at = max(self._sweep_at, now + HOLD_OFF_SECONDS)

    def wait(self, now: float) -> float:
        """Seconds until something is due."""
        return max(0.0, min(self._register_at, self._sweep_at) - now)

    def perform(self, db: Database, now: float) -> dict[LogKey, Head]:
        """Do what is due; what fails comes again. Returns logs that were closed, as the index has them."""
        try:
            if now >= self._register_at:
                self._register_at = now + REGISTER_SECONDS
                self._register(db, leaving=False)
            if now >= self._sweep_at:
                self._sweep_at = now + self._sweep_seconds
                return self.sweep(db)
        except RetryLater as error:
            log.warning("put off", error=str(error), component=error.component)
        return {}

    def sweep(self, db: Database) -> dict[LogKey, Head]:
        """Close logs whose attempt ended long ago and whose end did not come, unless lines of them wait here.

        Returns those, as the index has them. Raises RetryLater.
        """
        busy = self._memory.busy()
        found = logs.open_logs(db, self._memory.partitions(), ended_seconds=self._close_seconds)
        given_up = [one for one in found if (one.job_id, one.attempt) not in busy]
        if not given_up:
            return {}
        items = [
            IndexItem(
                tenant=one.tenant,
                job_id=one.job_id,
                attempt=one.attempt,
                partition=one.partition,
                lines_before=one.lines,
                lines=one.lines,
                last_seq=one.last_seq,
                end_seq=one.end_seq,
                closes=True,
            )
            for one in given_up
        ]
        closed = logs.index(db, items)
        for job_id, attempt in closed:
            log.warning("log closed without its end", job_id=job_id, attempt=attempt)
        return logs.heads(db, list(closed))

    def leave(self, db: Database) -> None:
        """This replica owns nothing any more."""
        try:
            self._register(db, leaving=True)
        except RetryLater as error:
            log.warning("not signed off", error=str(error))

    def _register(self, db: Database, *, leaving: bool) -> None:
        workers.register(
            db,
            session_id=self._session_id,
            kind="logs",
            name=self._name,
            address=self._address,
            partitions=[] if leaving else self._memory.partitions(),
            leaving=leaving,
        )
