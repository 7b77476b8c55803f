"""One step of intake: read requests, check and plan them, accept or reject them, answer repeats."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from penstock.core.errors import DeadLetter, Problem, RetryLater, StopProcess
from penstock.core.ids import uuid7
from penstock.events.envelope import header
from penstock.events.topics import dlq_of
from penstock.kafka import publish
from penstock.kafka.batches import Dead, Outcome
from penstock.kafka.records import Record
from penstock.runtime.clock import rfc3339
from penstock.runtime.log import logger
from penstock.store import jobs, requests, tenants
from penstock.store.changes import Changes
from penstock.store.database import Database, PoisonRow
from penstock.store.outbox import Acks
from penstock_services.intake.decide import (
    Asked,
    interpret,
    job_rows,
    pipeline_row,
    read,
    reference_of,
    rejection_row,
    waiting_rejection_row,
)
from penstock_services.intake.references import Definitions, References

log = logger(__name__)

MAX_JOBS_AT_ONCE = 5_000
"""Pipelines are accepted together up to so many jobs: one statement's memory is bounded."""


class Intake:
    """Handles batches of `pipelines.requested`."""

    def __init__(
        self,
        db: Database,
        definitions: Definitions,
        *,
        actor: str,
        open_tenancy: bool,
        new_id: Callable[[float], str] = uuid7,
    ) -> None:
        self._db = db
        self._references = References(definitions)
        self._actor = actor
        self._open_tenancy = open_tenancy
        self._new_id = new_id
        self._tenants: set[str] = set()
        self._acks = Acks()

    def step(self, batch: Sequence[Record], now: float) -> Outcome:
        """A batch of requests; of those with the same key the first counts, the others are repeats."""
        try:
            return self._step(batch, now)
        except (RetryLater, StopProcess):
            raise
        except Exception as error:  # whatever it is, it must not come back for ever
            if len(batch) > 1:
                raise  # The loop halves it until the offender stands alone.
            log.exception("request failed alone", place=batch[0].place)
            changes = Changes()
            dead = [Dead(batch[0], f"{type(error).__name__}: {error}", type(error).__name__)]
            return self._outcome(changes, self._turned_down(changes, dead, now), [], now)

    def _step(self, batch: Sequence[Record], now: float) -> Outcome:
        dead: list[Dead] = []
        came: list[tuple[Record, Asked]] = []
        for record in batch:
            try:
                asked = read(record.value, header(record.headers, "ce_id"), record.place)
            except DeadLetter as error:
                dead.append(Dead(record, str(error), type(error).__name__))
                continue
            came.append((record, asked))
        todo, later = self._interpret(came, now)
        self._check_tenants(todo)
        changes = Changes()
        try:
            self._handle(changes, todo, now)
        except PoisonRow as error:
            if len(todo) != 1:
                raise
            self._refuse(changes, todo[0], error, now)
        if self._acks.full():
            self._acks.flush(self._db)
        return self._outcome(changes, self._turned_down(changes, dead, now), later, now)

    def _outcome(self, changes: Changes, dead: list[Dead], later: list[Record], now: float) -> Outcome:
        records = publish.records(changes, self._actor)
        records += publish.undecided_hints(changes.undecided, rfc3339(now), self._actor)
        return Outcome(records, lambda: self._acks.add(changes.outbox_ids), dead, later)

    def tick(self, _now: float) -> None:
        """Delete what is acked."""
        self._acks.flush(self._db)

    def _interpret(self, came: list[tuple[Record, Asked]], now: float) -> tuple[list[Asked], list[Record]]:
        """What can be decided now, and the records whose definition could not be read yet."""
        references = [reference_of(asked) for _, asked in came]
        found = self._references.read((one for one in references if one is not None), now)
        todo: list[Asked] = []
        later: list[Record] = []
        for (record, asked), reference in zip(came, references, strict=True):
            if reference is not None and reference not in found:
                later.append(record)
                continue
            interpret(asked, found[reference] if reference else None, now)
            todo.append(asked)
        return todo, later

    def _handle(self, changes: Changes, todo: list[Asked], now: float) -> None:
        while todo:
            first: dict[tuple[str, str], Asked] = {}
            for asked in todo:  # who came first joins a group first, and is the last that a quota refuses
                first.setdefault((asked.tenant, asked.key), asked)
            self._round(changes, list(first.values()), now)
            chosen = {id(asked) for asked in first.values()}
            todo = [asked for asked in todo if id(asked) not in chosen]

    def _round(self, changes: Changes, todo: list[Asked], now: float) -> None:
        """Requests with different keys."""
        known = requests.known(self._db, [(asked.tenant, asked.key) for asked in todo])
        fresh: list[tuple[Asked, str]] = []
        rejections: list[dict[str, Any]] = []
        repeats: list[str] = []
        for asked in todo:
            old = known.get((asked.tenant, asked.key))
            if old is not None and old["hash"] != asked.digest:
                self._conflict(
                    asked, rejections, repeats, now, f"the key means pipeline {old['pipeline_id']}"
                )
                continue
            if old is not None and old["state"] != "RECEIVED":
                repeats.append(old["pipeline_id"])
                continue
            pipeline_id = old["pipeline_id"] if old else asked.wanted_id or self._new_id(now)
            if asked.problems:
                rejections.append(rejection_row(asked, pipeline_id))
            else:
                fresh.append((asked, pipeline_id))
        lost = self._accept(changes, fresh, rejections, now)
        if lost:
            self._lost(lost, rejections, repeats, now)
        self._reject(changes, rejections, now)
        if repeats:
            changes.pipelines.extend(requests.newest_status(self._db, repeats))

    def _reject(self, changes: Changes, rows: list[dict[str, Any]], now: float) -> set[str]:
        """Write refusals, those whose id is in use under new ones; returns the ids that were written."""
        if not rows:
            return set()
        first = {row["id"]: row for row in reversed(rows)}
        written = requests.reject(self._db, changes, list(first.values()), actor=self._actor)
        again = [
            {**row, "id": self._new_id(now)}
            for row in rows
            if row["id"] not in written or row is not first[row["id"]]
        ]
        if again:
            written |= requests.reject(self._db, changes, again, actor=self._actor)
        return written

    def _accept(
        self,
        changes: Changes,
        fresh: list[tuple[Asked, str]],
        rejections: list[dict[str, Any]],
        now: float,
    ) -> list[Asked]:
        """Accept them in groups of bounded size; returns those that somebody else was faster with."""
        lost: list[Asked] = []
        group: list[tuple[Asked, str]] = []
        size = 0
        for asked, pipeline_id in fresh:
            assert asked.plan is not None
            if group and size + len(asked.plan.jobs) > MAX_JOBS_AT_ONCE:
                lost += self._accept_group(changes, group, rejections, now)
                group, size = [], 0
            group.append((asked, pipeline_id))
            size += len(asked.plan.jobs)
        return lost + self._accept_group(changes, group, rejections, now) if group else lost

    def _accept_group(
        self,
        changes: Changes,
        group: list[tuple[Asked, str]],
        rejections: list[dict[str, Any]],
        now: float,
    ) -> list[Asked]:
        rows: list[dict[str, Any]] = []
        edges: list[dict[str, Any]] = []
        for asked, pipeline_id in group:
            assert asked.plan is not None
            ids = [self._new_id(now) for _ in asked.plan.jobs]
            job_part, edge_part = job_rows(asked, pipeline_id, ids)
            rows += job_part
            edges += edge_part
        pipelines = [pipeline_row(asked, pipeline_id) for asked, pipeline_id in group]
        found = requests.accept(self._db, changes, pipelines, rows, edges, actor=self._actor)
        older = [(tenant, pipeline_id, None) for tenant, pipeline_id in found.superseded]
        jobs.cancel_all(self._db, changes, older, actor=self._actor)
        lost: list[Asked] = []
        for asked, pipeline_id in group:
            if pipeline_id in found.cancelled:
                self._apply_cancels(changes, asked.tenant, pipeline_id)
            if pipeline_id in found.over:
                rejections.append(_over_quota(asked, pipeline_id))
            elif pipeline_id not in found.accepted:
                lost.append(asked)
        return lost

    def _apply_cancels(self, changes: Changes, tenant: str, pipeline_id: str) -> None:
        for job_id in requests.cancels_of(self._db, tenant, pipeline_id):
            jobs.cancel(
                self._db, changes, tenant=tenant, pipeline_id=pipeline_id, job_id=job_id, actor=self._actor
            )

    def _lost(
        self, lost: list[Asked], rejections: list[dict[str, Any]], repeats: list[str], now: float
    ) -> None:
        """Another delivery was faster, or the client's id is in use."""
        known = requests.known(self._db, [(asked.tenant, asked.key) for asked in lost])
        for asked in lost:
            old = known.get((asked.tenant, asked.key))
            if old is not None and old["hash"] == asked.digest and old["state"] != "RECEIVED":
                repeats.append(old["pipeline_id"])
            else:
                self._conflict(asked, rejections, repeats, now, "the pipeline_id is in use")

    def _conflict(
        self, asked: Asked, rejections: list[dict[str, Any]], repeats: list[str], now: float, why: str
    ) -> None:
        refused = requests.conflict(self._db, asked.tenant, asked.key, asked.digest)
        if refused is not None:
            repeats.append(refused)
            return
        good = not asked.problems
        asked.problems = [
            Problem(f"asks for something else than before: {why}", "request_id", hint="use a new key")
        ]
        rejections.append(rejection_row(asked, self._new_id(now), conflict=True, git=good))

    def _refuse(self, changes: Changes, asked: Asked, error: PoisonRow, now: float) -> None:
        """Postgres takes a value of this request not at all: the request is at fault (protocol §10)."""
        asked.problems = [Problem(str(error))]
        asked.plan = None
        known = requests.known(self._db, [(asked.tenant, asked.key)]).get((asked.tenant, asked.key))
        conflict = known is not None and known["hash"] != asked.digest
        pipeline_id = asked.wanted_id or self._new_id(now)
        if known is not None:
            pipeline_id = self._new_id(now) if conflict else known["pipeline_id"]
        if not self._reject(changes, [rejection_row(asked, pipeline_id, conflict=conflict)], now):
            raise DeadLetter(str(error)) from error

    def _turned_down(self, changes: Changes, dead: list[Dead], now: float) -> list[Dead]:
        """These go to the dead letters; a request over HTTP that waits behind one becomes REJECTED.

        The sweep would publish it for ever (protocol §1). Only the very record that was received counts:
        another producer's garbage under the same key is not the request.
        """
        for record, reason, _ in dead:
            tenant, key = (record.key or b"").decode(errors="replace"), header(record.headers, "ce_id")
            with contextlib.suppress(PoisonRow):  # Neither tenant nor key: no request of ours.
                waiting = requests.received(self._db, tenant, key)
                if waiting is not None and waiting["body"].encode() == record.value:
                    hint = f"the record is kept in {dlq_of(record.topic)}"
                    problem = Problem(f"intake cannot handle it: {reason}", hint=hint)
                    self._reject(changes, [waiting_rejection_row(tenant, key, waiting, problem)], now)
        return dead

    def _check_tenants(self, todo: list[Asked]) -> None:
        """Unknown tenants are registered, or their requests refused."""
        names = {asked.tenant for asked in todo} - self._tenants
        if not names:
            return
        self._tenants |= tenants.known_tenants(self._db, sorted(names))
        for tenant in sorted(names - self._tenants):
            if self._open_tenancy:
                tenants.create_tenant(self._db, tenant)
                self._tenants.add(tenant)
                continue
            for asked in todo:
                if asked.tenant == tenant:
                    hint = "register it: penstock tenant create"
                    asked.problems.append(Problem(f"{tenant!r} is not registered", "tenant", hint=hint))


def _over_quota(asked: Asked, pipeline_id: str) -> dict[str, Any]:
    hint = "send it again under a new request_id when some of them have ended, or have the quota raised"
    problem = Problem(f"{asked.tenant} has as many unfinished jobs as its quota lets it have", hint=hint)
    asked.problems = [problem]
    return {**rejection_row(asked, pipeline_id, git=True), "reason": "quota-exceeded"}
