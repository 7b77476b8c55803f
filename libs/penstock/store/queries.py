"""Every read of the HTTP door: rows as the plain data that it shows, times as RFC 3339 with microseconds.

All of them name the tenant: what belongs to another one is not there.
"""
# ruff: noqa: S608 - statements are put together from literals of this module only, which pyright checks

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, NamedTuple

from penstock.core.waiting import NO_MORE
from penstock.store.database import Database


def utc(column: LiteralString) -> LiteralString:
    """SQL for a time as text whose form does not depend on the session."""
    return "to_char(" + column + " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


_PIPELINE: LiteralString = (
    "json_build_object('tenant', p.tenant, 'pipeline_id', p.id, 'request_id', p.request_id, 'name', p.name,"
    " 'state', p.state, 'terminal', p.finished_at IS NOT NULL, 'version', p.version, 'reason', p.reason,"
    " 'trigger', p.trigger, 'git', p.git, 'errors', p.errors, 'rerun_of', p.rerun_of,"
    # The row has those of the last transition: of a pipeline that goes on, they are counted anew.
    " 'counts', CASE WHEN p.finished_at IS NOT NULL THEN p.counts ELSE ("
    "SELECT coalesce(json_object_agg(c.state, c.jobs ORDER BY c.state), '{}') FROM ("
    "SELECT n.state, count(*) AS jobs FROM jobs AS n WHERE n.pipeline_id = p.id GROUP BY n.state) AS c) END,"
    " 'created_at', " + utc("p.created_at") + ", 'changed_at', " + utc("p.changed_at") + ","
    " 'started_at', " + utc("p.started_at") + ", 'finished_at', " + utc("p.finished_at") + ")"
)

_JOB: LiteralString = (
    "json_build_object('tenant', j.tenant, 'pipeline_id', j.pipeline_id, 'job_id', j.id, 'name', j.name,"
    " 'stage', s.stage, 'state', j.state, 'terminal', j.state IN"
    " ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED'), 'version', j.version, 'reason', j.reason,"
    " 'attempt', j.attempt, 'tries', j.tries, 'exit_code', j.exit_code, 'duration_ms', j.duration_ms,"
    " 'pool', j.pool, 'lane', j.lane, 'labels', s.labels, 'executor', s.executor, 'worker', j.session_id,"
    " 'resources', s.resources, 'immediate', s.immediate, 'locks', (SELECT coalesce(json_agg("
    "json_build_object('name', h ->> 1, 'mode', CASE WHEN h ->> 2 IS NULL THEN 'shared' ELSE 'exclusive' END)"
    "), '[]') FROM json_array_elements(s.holds) AS h WHERE h ->> 0 = 'lock'),"
    " 'waiting', CASE WHEN j.state = 'QUEUED' THEN json_build_object("
    "'reason', coalesce(r.why ->> 'reason', 'queue'),"
    " 'text', coalesce(r.why ->> 'text', '" + NO_MORE + "')) END,"
    " 'continue_on_error', j.continue_on_error, 'if', s.condition, 'source_job_id', s.source_job_id,"
    " 'started_at', " + utc("coalesce(l.started_at, a.started_at)") + ","
    " 'finished_at', CASE WHEN j.state IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED')"
    " THEN " + utc("j.changed_at") + " END, 'changed_at', " + utc("j.changed_at") + ")"
)
_OF_JOB: LiteralString = (
    " FROM jobs AS j JOIN job_specs AS s ON s.job_id = j.id LEFT JOIN leases AS l ON l.job_id = j.id"
    " LEFT JOIN ready AS r ON r.job_id = j.id"
    " LEFT JOIN attempts AS a ON a.job_id = j.id AND a.attempt = j.attempt"
)


class Graph(NamedTuple):
    """The jobs of a pipeline, by name, and its edges as (parent id, child id)."""

    jobs: list[dict[str, Any]]
    edges: list[tuple[str, str]]


class History(NamedTuple):
    """Status records as they were published (interface §4)."""

    pipeline: list[dict[str, Any]]
    jobs: list[dict[str, Any]]


def pipelines(
    db: Database,
    tenant: str,
    *,
    states: Sequence[str] = (),
    branch: str = "",
    repo: str = "",
    before: tuple[str, str] | None = None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first. `before` is (created_at, id) of the last one that is known already."""
    at, pipeline_id = before or (None, None)
    rows = db.rows(
        "SELECT " + _PIPELINE + " FROM pipelines AS p WHERE p.tenant = %(tenant)s"
        " AND (%(states)s::text[] = '{}' OR p.state = ANY(%(states)s::text[]))"
        " AND (%(branch)s = '' OR p.branch = %(branch)s) AND (%(repo)s = '' OR p.repo = %(repo)s)"
        " AND (%(at)s::timestamptz IS NULL OR (p.created_at, p.id) < (%(at)s::timestamptz, %(id)s::uuid))"
        " ORDER BY p.created_at DESC, p.id DESC LIMIT %(limit)s",
        {
            "tenant": tenant,
            "states": list(states),
            "branch": branch,
            "repo": repo,
            "at": at,
            "id": pipeline_id,
            "limit": limit,
        },
    )
    return [row[0] for row in rows]


def pipeline(db: Database, tenant: str, pipeline_id: str) -> dict[str, Any] | None:
    """One pipeline; of one that is received but not applied only what is known: state RECEIVED."""
    found: dict[str, Any] | None = db.one(
        "SELECT " + _PIPELINE + " FROM pipelines AS p WHERE p.id = %s::uuid AND p.tenant = %s",
        (pipeline_id, tenant),
    )
    if found is None:
        found = db.one(
            "SELECT json_build_object('tenant', r.tenant, 'pipeline_id', r.pipeline_id, 'request_id', r.key,"
            " 'state', r.state, 'terminal', false, 'counts', json_build_object(),"
            " 'created_at', " + utc("r.received_at") + ") FROM requests AS r"
            " WHERE r.state = 'RECEIVED' AND r.pipeline_id = %s::uuid AND r.tenant = %s",
            (pipeline_id, tenant),
        )
    return found


def request(db: Database, tenant: str, key: str) -> dict[str, Any] | None:
    """What became of a request: {request_id, pipeline_id, state, reason, errors, received_at}.

    The state is the pipeline's, RECEIVED until there is one.
    """
    found: dict[str, Any] | None = db.one(
        "SELECT json_build_object('tenant', r.tenant, 'request_id', r.key, 'pipeline_id', r.pipeline_id,"
        " 'state', coalesce(p.state, r.state), 'reason', p.reason, 'errors', p.errors,"
        " 'received_at', " + utc("r.received_at") + ")"
        " FROM requests AS r LEFT JOIN pipelines AS p ON p.id = r.pipeline_id AND p.tenant = r.tenant"
        " WHERE r.tenant = %s AND r.key = %s",
        (tenant, key),
    )
    return found


def graph(db: Database, tenant: str, pipeline_id: str, *, with_attempts: bool = False) -> Graph | None:
    """All jobs and edges of a pipeline; none while it is only received; None when it is not there."""
    rows = db.rows(
        "SELECT "
        + _JOB
        + _OF_JOB
        + " WHERE j.pipeline_id = %s::uuid AND j.tenant = %s ORDER BY j.name, j.id",
        (pipeline_id, tenant),
    )
    if not rows and pipeline(db, tenant, pipeline_id) is None:
        return None
    edges = db.rows(
        "SELECT e.parent_id::text, e.child_id::text FROM jobs AS j JOIN edges AS e ON e.parent_id = j.id"
        " WHERE j.pipeline_id = %s::uuid AND j.tenant = %s",
        (pipeline_id, tenant),
    )
    jobs = [row[0] for row in rows]
    if with_attempts:
        known = _attempts(db, [_attempts_source(job) for job in jobs])
        for job in jobs:
            job["attempts"] = known[_attempts_source(job)]
    return Graph(jobs, [(row[0], row[1]) for row in edges])


def job(db: Database, tenant: str, job_id: str) -> dict[str, Any] | None:
    """One job with the names of what it needs, since when it waits or waited last, and all its attempts."""
    found: dict[str, Any] | None = db.one(
        "SELECT " + _JOB + _OF_JOB + " WHERE j.id = %s::uuid AND j.tenant = %s", (job_id, tenant)
    )
    if found is None:
        return None
    found["needs"] = [
        row[0]
        for row in db.rows(
            "SELECT parent.name FROM edges AS e JOIN jobs AS parent ON parent.id = e.parent_id"
            " WHERE e.child_id = %s::uuid ORDER BY parent.name",
            (job_id,),
        )
    ]
    found["created_at"], found["queued_at"] = db.rows(
        "SELECT " + utc("min(t.at)") + ", " + utc("max(t.at) FILTER (WHERE t.state = 'QUEUED')") + ""
        " FROM job_transitions AS t WHERE t.job_id = %s::uuid",
        (job_id,),
    )[0]
    source = _attempts_source(found)
    found["attempts"] = _attempts(db, [source])[source]
    return found


def attempts(db: Database, tenant: str, job_id: str) -> list[dict[str, Any]] | None:
    """All attempts of a job, the first one first; None when the job is not there.

    Those of a job that a rerun took over are its source's.
    """
    source: str | None = db.one(
        "SELECT coalesce(s.source_job_id, j.id)::text FROM jobs AS j JOIN job_specs AS s ON s.job_id = j.id"
        " WHERE j.id = %s::uuid AND j.tenant = %s",
        (job_id, tenant),
    )
    return None if source is None else _attempts(db, [source])[source]


def log_job(db: Database, tenant: str, job_id: str) -> dict[str, Any] | None:
    """What a reader of its log must know of a job; `attempt` is that of the last one, 0 before the first.

    {tenant, pipeline_id, job_id, attempt, state, terminal}; of a job that a rerun took over they are those of
    its source, whose log it is.
    """
    found: dict[str, Any] | None = db.one(
        "SELECT json_build_object('tenant', o.tenant, 'pipeline_id', o.pipeline_id, 'job_id', o.id,"
        " 'attempt', o.attempt, 'state', o.state,"
        " 'terminal', o.state IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED'))"
        " FROM jobs AS j JOIN job_specs AS s ON s.job_id = j.id"
        " JOIN jobs AS o ON o.id = coalesce(s.source_job_id, j.id)"
        " WHERE j.id = %s::uuid AND j.tenant = %s",
        (job_id, tenant),
    )
    return found


def history(db: Database, tenant: str, pipeline_id: str) -> History:
    """All status records of a pipeline and its jobs, oldest first; the pipeline's are read first."""
    owner = {"id": pipeline_id, "tenant": tenant}
    of_pipeline = db.rows(
        "SELECT json_build_object('tenant', p.tenant, 'pipeline_id', p.id, 'request_id', p.request_id,"
        " 'name', p.name, 'version', t.version, 'state', t.state, 'previous', t.previous,"
        " 'terminal', t.state IN ('REJECTED', 'SUCCESS', 'FAILED', 'CANCELLED'), 'reason', t.reason,"
        " 'at', " + utc("t.at") + ", 'counts', t.counts, 'git', p.git, 'errors', p.errors,"
        " 'rerun_of', p.rerun_of)"
        " FROM pipelines AS p JOIN pipeline_transitions AS t ON t.pipeline_id = p.id"
        " WHERE p.id = %(id)s::uuid AND p.tenant = %(tenant)s ORDER BY t.version",
        owner,
    )
    of_jobs = db.rows(
        "SELECT json_build_object('tenant', t.tenant, 'pipeline_id', t.pipeline_id, 'job_id', t.job_id,"
        " 'name', t.name, 'pool', t.pool, 'lane', t.lane, 'attempt', t.attempt, 'tries', t.tries,"
        " 'version', t.version, 'state', t.state, 'previous', t.previous, 'terminal', t.terminal,"
        " 'reason', t.reason, 'exit_code', t.exit_code, 'worker', t.worker, 'at', " + utc("t.at") + ","
        " 'duration_ms', t.duration_ms)"
        " FROM jobs AS j JOIN job_transitions AS t ON t.job_id = j.id"
        " WHERE j.pipeline_id = %(id)s::uuid AND j.tenant = %(tenant)s ORDER BY t.at, t.job_id, t.version",
        owner,
    )
    return History([row[0] for row in of_pipeline], [row[0] for row in of_jobs])


def pulse(db: Database, tenant: str, pipeline_id: str) -> int:
    """A number that grows with every transition of the pipeline and its jobs: the sum of their versions."""
    found: int = db.one(
        "SELECT (coalesce((SELECT p.version FROM pipelines AS p"
        " WHERE p.id = %(id)s::uuid AND p.tenant = %(tenant)s), 0) + coalesce((SELECT sum(j.version)"
        " FROM jobs AS j WHERE j.pipeline_id = %(id)s::uuid AND j.tenant = %(tenant)s), 0))::bigint",
        {"id": pipeline_id, "tenant": tenant},
    )
    return found


def sessions(db: Database, kind: str) -> list[dict[str, Any]]:
    """Sessions of a kind of process, the newest first, without where they are reached."""
    rows = db.rows(
        "SELECT json_build_object('session_id', w.session_id, 'kind', w.kind, 'name', w.name,"
        " 'pool', w.pool, 'state', w.state, 'slots', w.slots, 'attempts', w.attempts,"
        " 'capacity', w.capacity, 'labels', w.labels, 'registered_at', " + utc("w.registered_at") + ","
        " 'seen_at', " + utc("w.seen_at") + ")"
        " FROM workers AS w WHERE w.kind = %s ORDER BY w.registered_at DESC, w.session_id",
        (kind,),
    )
    return [row[0] for row in rows]


def _attempts(db: Database, job_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Attempts of these jobs: those that ended, then the living one."""
    found: dict[str, list[dict[str, Any]]] = {job_id: [] for job_id in job_ids}
    rows = db.rows(
        "SELECT a.job_id::text, json_build_object('attempt', a.attempt, 'state', a.state, 'reason', a.reason,"
        " 'exit_code', a.exit_code, 'duration_ms', a.duration_ms, 'last_seq', a.last_seq,"
        " 'worker', a.session_id, 'worker_name', coalesce(w.name, g.name),"
        " 'unblocked_at', " + utc("a.unblocked_at") + ","
        " 'assigned_at', " + utc("a.assigned_at") + ", 'started_at', " + utc("a.started_at") + ","
        " 'ended_at', " + utc("a.ended_at") + ", 'late', a.late, 'late_at', " + utc("a.late_at") + ")"
        " FROM attempts AS a LEFT JOIN workers AS w ON w.session_id = a.session_id"
        " LEFT JOIN past_workers AS g ON g.session_id = a.session_id"
        " WHERE a.job_id = ANY(%s::uuid[]) ORDER BY a.attempt",
        (list(found),),
    )
    living = db.rows(
        "SELECT l.job_id::text, json_build_object('attempt', l.attempt, 'state', j.state, 'reason', j.reason,"
        " 'exit_code', null, 'duration_ms', null, 'last_seq', null,"
        " 'worker', l.session_id, 'worker_name', w.name,"
        " 'unblocked_at', " + utc("l.unblocked_at") + ", 'assigned_at', " + utc("l.assigned_at") + ","
        " 'started_at', " + utc("l.started_at") + ", 'ended_at', null, 'late', null, 'late_at', null)"
        " FROM leases AS l JOIN jobs AS j ON j.id = l.job_id"
        " LEFT JOIN workers AS w ON w.session_id = l.session_id WHERE l.job_id = ANY(%s::uuid[])",
        (list(found),),
    )
    for job_id, attempt in (*rows, *living):
        found[job_id].append(attempt)
    return found


def _attempts_source(job: dict[str, Any]) -> str:
    """The job whose attempts are this one's: its own, or that of which a rerun took it over."""
    return str(job["source_job_id"] or job["job_id"])
