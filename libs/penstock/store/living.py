"""Jobs that have an attempt now, and what becomes of jobs step by step, of all tenants: for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString, NamedTuple

from penstock.store.database import Database


class JobNow(NamedTuple):
    """A job as it is at a moment; `worker` is the name of the runner that holds it, empty without one."""

    job_id: str
    pipeline: str
    name: str
    state: str
    attempt: int
    version: int
    worker: str


class JobStep(NamedTuple):
    """One transition of a job."""

    job_id: str
    version: int
    state: str
    attempt: int
    reason: str | None
    exit_code: int | None


_JOB: LiteralString = (
    "SELECT j.id::text, p.name, j.name, j.state, j.attempt, j.version, coalesce(w.name, '')"
    " FROM jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id LEFT JOIN leases AS l ON l.job_id = j.id"
    " LEFT JOIN workers AS w ON w.session_id = l.session_id"
)


def held(db: Database) -> list[JobNow]:
    """Jobs with a living attempt, by id. Raises RetryLater."""
    return [JobNow(*row) for row in db.rows(_JOB + " WHERE l.job_id IS NOT NULL ORDER BY j.id")]


def of_request(db: Database, tenant: str, key: str) -> list[JobNow]:
    """The jobs of the pipeline that was asked for under this key, once it is accepted. Raises RetryLater."""
    rows = db.rows(_JOB + " WHERE p.tenant = %s AND p.request_id = %s ORDER BY j.id", (tenant, key))
    return [JobNow(*row) for row in rows]


def steps(db: Database, job_ids: Sequence[str]) -> list[JobStep]:
    """All transitions of these jobs in the order of time. Raises RetryLater."""
    rows = db.rows(
        "SELECT job_id::text, version, state, attempt, reason, exit_code FROM job_transitions"
        " WHERE job_id = ANY(%s::uuid[]) ORDER BY at, job_id, version",
        (list(job_ids),),
    )
    return [JobStep(*row) for row in rows]
