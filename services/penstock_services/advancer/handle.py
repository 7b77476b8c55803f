"""One step of the advancer: decode, start, finish, release, decide, settle."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence

import msgspec

from penstock.core.errors import DeadLetter
from penstock.events import jobs as job_events
from penstock.events.jobs import Report, Reports
from penstock.events.workers import Control, Settled
from penstock.kafka import publish
from penstock.kafka.batches import Dead, Outcome
from penstock.kafka.records import Record
from penstock.runtime.clock import rfc3339
from penstock.runtime.metrics import Metrics
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database, PoisonRow
from penstock.store.outbox import Acks
from penstock_services.advancer.decide import (
    Facts,
    Sorted,
    decide,
    finish_row,
    late_row,
    sort_reports,
    undecided_of,
)

TICK_SECONDS = 0.1
"""How soon a runner learns that its reports are settled."""
FLUSH_SECONDS = 1.0
MAX_LEVELS = 100
"""Levels of a cascade of skips in one step; what is deeper the sweep brings back."""


class Advancer:
    """Handles batches of `jobs.reports`. `jitter` gives random numbers in [0, 1) for retries."""

    def __init__(
        self,
        db: Database,
        *,
        actor: str,
        ttl_seconds: float,
        policy: jobs.Policy,
        metrics: Metrics,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._actor = actor
        self._ttl_seconds = ttl_seconds
        self._policy = policy
        self._metrics = metrics
        self._jitter = jitter
        self._acks = Acks()
        self._next_flush = 0.0
        self._settled: dict[str, list[Settled]] = {}

    def step(self, batch: Sequence[Record], _now: float) -> Outcome:
        """One batch of reports: everything they change, and `settled` for each of them."""
        reports: list[Reports] = []
        dead: list[Dead] = []
        for record in batch:
            try:
                reports.append(job_events.reports.decode(record.value))
            except DeadLetter as error:
                dead.append(Dead(record, str(error), type(error).__name__))
        changes = Changes()
        accepted: set[tuple[str, str]] = set()
        for todo in sort_reports(report for record in reports for report in record.reports):
            try:
                accepted |= self._apply(changes, todo)
            except PoisonRow as error:
                if len(batch) > 1:
                    raise
                dead = [Dead(batch[0], str(error), type(error).__name__)]
                accepted |= self._salvage(changes, todo.all)
        wishes = [(one["tenant"], one["pipeline_id"], one["job_id"]) for one in changes.wishes]
        jobs.cancel_all(self._db, changes, wishes, actor=self._actor)
        self._decide(changes, undecided_of(reports))
        if self._acks.full():
            self._acks.flush(self._db)
        records = publish.records(changes, self._actor)
        self._settle(reports, accepted)
        return Outcome(records, lambda: self._acks.add(changes.outbox_ids), dead)

    def tick(self, now: float) -> Outcome | None:
        """Tell the runners what is settled; delete what is acked."""
        if now >= self._next_flush:
            self._next_flush = now + FLUSH_SECONDS
            self._acks.flush(self._db)
        settled, self._settled = self._settled, {}
        at = rfc3339(now)
        records = [
            publish.control(session_id, Control(session_id=session_id, settled=answers), at, self._actor)
            for session_id, answers in settled.items()
        ]
        return Outcome(records, _nothing) if records else None

    def _apply(self, changes: Changes, todo: Sorted) -> set[tuple[str, str]]:
        """Carry the reports out. Returns the (job, token) pairs that were current."""
        current: set[str] = set()
        if todo.starts:
            starts = [{"job_id": r.job_id, "token": r.token} for r in todo.starts]
            current |= jobs.start(self._db, changes, starts, ttl_seconds=self._ttl_seconds, actor=self._actor)
        if todo.ends:
            rows = [finish_row(report, self._jitter()) for report in todo.ends]
            current |= jobs.finish(self._db, changes, rows, policy=self._policy, actor=self._actor)
        if todo.releases:
            items = [{"job_id": r.job_id, "token": r.token} for r in todo.releases]
            current |= jobs.release(
                self._db, changes, items, expired=False, policy=self._policy, actor=self._actor
            )
        accepted = {(report.job_id, report.token) for report in todo.all if report.job_id in current}
        self._metrics.inc("penstock_reports_total", len(accepted), result="accepted")
        if refused := [late_row(one) for one in todo.all if (one.job_id, one.token) not in accepted]:
            repeated = jobs.late(self._db, refused)
            self._metrics.inc("penstock_reports_total", repeated, result="repeated")
            self._metrics.inc("penstock_reports_total", len(refused) - repeated, result="refused")
            self._metrics.inc("penstock_cas_conflicts_total", len(refused), service="advancer")
        return accepted

    def _salvage(self, changes: Changes, reports: list[Report]) -> set[tuple[str, str]]:
        """Halve them until the offender stands alone: its attempt ends as infra-error (protocol §10)."""
        try:
            (todo,) = sort_reports(reports)
            return self._apply(changes, todo)
        except PoisonRow:
            if len(reports) > 1:
                middle = len(reports) // 2
                return self._salvage(changes, reports[:middle]) | self._salvage(changes, reports[middle:])
        bad = reports[0]
        end = Report(
            job_id=bad.job_id, attempt=bad.attempt, token=bad.token, kind="ended", reason="infra-error"
        )
        with contextlib.suppress(PoisonRow):  # Even its ids make no sense: no job of ours is meant.
            rows = [finish_row(end, self._jitter())]
            jobs.finish(self._db, changes, rows, policy=self._policy, actor=self._actor)
        return set()

    def _decide(self, changes: Changes, asked: list[str]) -> None:
        """Ask the pure decide level by level until nothing is undecided."""
        for _ in range(MAX_LEVELS):
            asked = [*asked, *(one["job_id"] for one in changes.undecided)]
            changes.undecided = []
            if not asked:
                return
            facts = msgspec.convert(jobs.undecided(self._db, asked), list[Facts])
            rows = [msgspec.structs.asdict(decide(fact)) for fact in facts]
            if rows:
                jobs.resolve(self._db, changes, rows, actor=self._actor)
            asked = []

    def _settle(self, batch: Sequence[Reports], accepted: set[tuple[str, str]]) -> None:
        """Note what to tell: nobody waits for it but a journal, so it goes out by the tick, many at once."""
        for record in batch:
            answers = self._settled.setdefault(record.session_id, []) if record.reports else []
            for report in record.reports:
                ok = (report.job_id, report.token) in accepted
                answers.append(Settled(report.job_id, report.attempt, report.kind, ok))


def _nothing() -> None:
    """What is lost of these records the runner asks for again."""
