"""One step of the canceller: whatever was asked for becomes CANCELLED or CANCELLING."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.core.errors import DeadLetter
from penstock.core.ids import is_uuid
from penstock.events.cancels import CancelRequested, requested
from penstock.kafka import publish
from penstock.kafka.batches import Dead, Outcome
from penstock.kafka.records import Record
from penstock.runtime.clock import rfc3339
from penstock.store import jobs, requests
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.store.outbox import Acks

SWEEP_ROWS = 100


class Canceller:
    """Handles batches of `cancel.requested`, and sweeps the cancels that wait in Postgres."""

    def __init__(self, db: Database, *, actor: str, sweep_seconds: float) -> None:
        self._db = db
        self._actor = actor
        self._sweep_seconds = sweep_seconds
        self._next_sweep = 0.0
        self._acks = Acks()

    def step(self, batch: Sequence[Record], now: float) -> Outcome:
        """Cancel what the records name.

        An unknown pipeline may be on its way: its cancel is kept for it. A job that its pipeline does not
        have is nobody's; nor can a job be on its way, for its id is told only once it is there.
        """
        changes = Changes()
        dead: list[Dead] = []
        wishes: list[tuple[Record, CancelRequested]] = []
        for record in batch:
            try:
                wishes.append((record, _valid(requested.decode(record.value))))
            except DeadLetter as error:
                dead.append(Dead(record, str(error), type(error).__name__))
        asked = [(wish.tenant, wish.pipeline_id, wish.job_id or None) for _, wish in wishes]
        for (record, wish), outcome in zip(wishes, self._cancel(changes, asked), strict=True):
            if wish.job_id and outcome in ("absent", "no-such-job"):
                why = f"pipeline {wish.pipeline_id} of tenant {wish.tenant} has no job {wish.job_id}"
                dead.append(Dead(record, f"CancelRequested: {why}"))
            elif outcome == "absent":
                requests.keep_cancel(self._db, wish.tenant, wish.pipeline_id, wish.reason)
        return self._outcome(changes, now, dead)

    def tick(self, now: float) -> Outcome | None:
        """Delete what is acked; every so often apply cancels whose record was lost."""
        self._acks.flush(self._db)
        if now < self._next_sweep:
            return None
        self._next_sweep = now + self._sweep_seconds
        changes = Changes()
        waiting = requests.waiting_cancels(self._db, SWEEP_ROWS)
        self._cancel(changes, [(wish["tenant"], wish["pipeline_id"], wish["job_id"]) for wish in waiting])
        return self._outcome(changes, now, [])

    def _cancel(self, changes: Changes, wishes: Sequence[tuple[str, str, str | None]]) -> list[str]:
        return jobs.cancel_all(self._db, changes, wishes, actor=self._actor) if wishes else []

    def _outcome(self, changes: Changes, now: float, dead: list[Dead]) -> Outcome:
        records = publish.records(changes, self._actor)
        records += publish.undecided_hints(changes.undecided, rfc3339(now), self._actor)
        return Outcome(records, lambda: self._acks.add(changes.outbox_ids), dead)


def _valid(wish: CancelRequested) -> CancelRequested:
    for name, value in (("pipeline_id", wish.pipeline_id), ("job_id", wish.job_id)):
        if (value or name == "pipeline_id") and not is_uuid(value):
            raise DeadLetter(f"CancelRequested: {name} {value!r} is not a UUID")
    return wish
