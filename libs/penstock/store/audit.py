"""Everything that a database holds of jobs and pipelines at once, for those who check what became of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from psycopg import sql

from penstock.store.database import Database

Rows = list[dict[str, Any]]


class Books(msgspec.Struct, frozen=True):
    """All rows, as dicts by column name. Histories are sorted by their subject and version.

    `committed` of a transition orders transactions: of two, the greater one was begun later. `jobs` have the
    `needs` that their edges name, as ids, and of their specs condition, exclusive, executor, grace, holds,
    source and timeout.
    """

    jobs: Rows
    pipelines: Rows
    job_transitions: Rows
    pipeline_transitions: Rows
    attempts: Rows
    requests: Rows
    request_conflicts: Rows
    cancels: Rows
    log_heads: Rows
    log_chunks: Rows
    sessions: Rows
    """Of runners, living or gone: session_id, name."""
    leases: Rows
    ready: Rows
    timers: Rows
    outbox: Rows
    """Without their events."""
    open_pipelines: Rows
    holds: Rows
    concurrency_groups: Rows
    read_at: str
    """The database's clock when it was read."""

    @property
    def left(self) -> dict[str, Rows]:
        """Tables that are empty when all is done."""
        return {
            "leases": self.leases, "ready": self.ready, "timers": self.timers, "outbox": self.outbox,
            "open_pipelines": self.open_pipelines,
        }  # fmt: skip


class Census(msgspec.Struct, frozen=True):
    """Counts of one moment, which must fit together (`jobs` by state)."""

    accepted: int
    """Jobs that were ever accepted."""
    jobs: dict[str, int]
    versions: int
    """The sum of all jobs' versions."""
    transitions: int
    open: int
    """Jobs that are not terminal, as their pipelines count them."""
    queued: int
    """Rows of the queue."""


def books(db: Database) -> Books:
    """Read them in one statement, so that they fit together. Raises RetryLater."""
    return msgspec.convert(db.one(_BOOKS), Books)


def census(db: Database) -> Census:
    """Count in one statement. Raises RetryLater."""
    return msgspec.convert(db.one(_CENSUS), Census)


def wrong_holds(db: Database) -> list[str]:
    """What is held against the rule, for nobody, or not held by whoever must; none at any moment."""
    return [row[0] for row in db.rows(_WRONG_HOLDS)]


def open_jobs(db: Database) -> int:
    """How many jobs are not terminal. Raises RetryLater."""
    return int(db.one(_OPEN))


def is_quiet(db: Database) -> bool:
    """Whether nothing is left to do: no open pipeline, no unsent event, no request or cancel that waits, no
    history that the newest Kafka cluster has not been given again (a wiped one never gets the rest).
    """
    return bool(db.one(_QUIET))


def logs_are_whole(db: Database) -> bool:
    """Whether every log is closed, and every ended attempt that told of lines has one.

    An attempt that ended for want of what its runner needs may have kept none.
    """
    return bool(db.one(_LOGS_WHOLE))


def dump(db: Database) -> str:
    """All that jobs and pipelines are, a line a row, sorted: equal when nothing has changed.

    Without what every heartbeat changes, and without what was told of attempts that were over already: it is
    noted and has no effect. Two dumps are compared by `penstock.testing.history.dumps`.
    """
    tables = db.rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace AND relname <> ALL (%s) ORDER BY relname",
        (list(_RESTLESS),),
    )
    line = sql.SQL("SELECT {name} || ' ' || (to_jsonb(t) - 'late' - 'late_at')::text FROM {table} AS t")
    lines = [
        row[0]
        for (name,) in tables
        for row in db.rows(line.format(name=sql.Literal(name), table=sql.Identifier(name)))
    ]
    return "\n".join(sorted(lines))


_RESTLESS: Final = (
    "workers", "past_workers", "reaper_clock", "kafka_clusters", "schema_ledger", "virtual_clock",
)  # fmt: skip
_BOOKS = """
    SELECT json_build_object(
        'jobs', (SELECT coalesce(json_agg(j ORDER BY j.id), '[]') FROM (
            SELECT j.*, s.condition, s.executor, s.holds, s.source_job_id AS source,
                (s.spec ->> 'grace')::float8 AS grace, (s.spec ->> 'timeout')::float8 AS timeout,
                coalesce((s.spec ->> 'exclusive')::boolean, false) AS exclusive,
                ARRAY(SELECT e.parent_id FROM edges AS e WHERE e.child_id = j.id ORDER BY 1) AS needs
            FROM jobs AS j JOIN job_specs AS s ON s.job_id = j.id) AS j),
        'pipelines', (SELECT coalesce(json_agg(p ORDER BY p.id), '[]') FROM pipelines AS p),
        'job_transitions', (SELECT coalesce(json_agg(t ORDER BY t.job_id, t.version), '[]') FROM (
            SELECT t.*, t.xmin::text::bigint AS committed FROM job_transitions AS t) AS t),
        'pipeline_transitions', (SELECT coalesce(json_agg(t ORDER BY t.pipeline_id, t.version), '[]') FROM (
            SELECT t.*, t.xmin::text::bigint AS committed FROM pipeline_transitions AS t) AS t),
        'attempts', (SELECT coalesce(json_agg(a ORDER BY a.job_id, a.attempt), '[]') FROM attempts AS a),
        'requests', (SELECT coalesce(json_agg(r ORDER BY r.tenant, r.key), '[]') FROM requests AS r),
        'request_conflicts', (SELECT coalesce(json_agg(r ORDER BY r.tenant, r.key, r.hash), '[]')
            FROM request_conflicts AS r),
        'cancels', (SELECT coalesce(json_agg(c ORDER BY c.received_at, c.cancel_id), '[]')
            FROM cancels AS c),
        'log_heads', (SELECT coalesce(json_agg(h ORDER BY h.job_id, h.attempt), '[]') FROM log_heads AS h),
        'log_chunks', (SELECT coalesce(json_agg(c ORDER BY c.job_id, c.attempt, c.first_seq), '[]') FROM (
            SELECT job_id, attempt, first_seq, last_seq, object_key FROM log_chunks) AS c),
        'sessions', (SELECT coalesce(json_agg(w ORDER BY w.session_id), '[]') FROM (
            SELECT session_id, name FROM workers WHERE kind = 'runner'
            UNION SELECT session_id, name FROM past_workers) AS w),
        'leases', (SELECT coalesce(json_agg(l ORDER BY l.job_id), '[]') FROM leases AS l),
        'ready', (SELECT coalesce(json_agg(r ORDER BY r.job_id), '[]') FROM ready AS r),
        'timers', (SELECT coalesce(json_agg(t ORDER BY t.job_id, t.kind), '[]') FROM timers AS t),
        'outbox', (SELECT coalesce(json_agg(o ORDER BY o.created_at, o.id), '[]') FROM (
            SELECT id, created_at, actor FROM outbox) AS o),
        'open_pipelines', (SELECT coalesce(json_agg(o ORDER BY o.pipeline_id), '[]')
            FROM open_pipelines AS o),
        'holds', (SELECT coalesce(json_agg(h ORDER BY h.tenant, h.kind, h.name, h.holder), '[]')
            FROM holds AS h),
        'concurrency_groups', (SELECT coalesce(json_agg(g ORDER BY g.since, g.pipeline_id), '[]')
            FROM concurrency_groups AS g),
        'read_at', clock_v1())
"""
_CENSUS = """
    SELECT json_build_object(
        'accepted', (SELECT count(*) FROM job_specs),
        'jobs', (SELECT coalesce(json_object_agg(n.state, n.jobs), '{}')
            FROM (SELECT state, count(*) AS jobs FROM jobs GROUP BY state) AS n),
        'versions', (SELECT coalesce(sum(version), 0) FROM jobs),
        'transitions', (SELECT count(*) FROM job_transitions),
        'open', (SELECT coalesce(sum(remaining), 0) FROM open_pipelines),
        'queued', (SELECT count(*) FROM ready))
"""
_WRONG_HOLDS = """
    SELECT format('%%s %%s is held by %%s, %%s may', kind, name, count(*), min(most)) FROM holds
    GROUP BY tenant, kind, name HAVING count(*) > min(most)
    UNION ALL
    SELECT format('%%s %%s is held by %%s, which has ended', kind, name, holder) FROM holds AS h
    WHERE NOT EXISTS (SELECT FROM leases AS l WHERE l.job_id = h.holder)
        AND NOT EXISTS (SELECT FROM open_pipelines AS o WHERE o.pipeline_id = h.holder)
    UNION ALL
    SELECT format('job %%s may run without %%s %%s', l.job_id, w ->> 0, w ->> 1)
    FROM leases AS l JOIN job_specs AS s ON s.job_id = l.job_id CROSS JOIN json_array_elements(s.holds) AS w
    WHERE NOT EXISTS (SELECT FROM holds AS h WHERE h.kind = w ->> 0 AND h.holder IN (s.job_id, s.pipeline_id)
        AND h.name IN (w ->> 1, s.pipeline_id || '/' || (w ->> 1)))
"""
_OPEN = """
    SELECT count(*) FROM open_pipelines JOIN jobs AS j USING (pipeline_id)
    WHERE j.state <> ALL ('{SUCCESS,FAILED,CANCELLED,SKIPPED}')
"""
_LOGS_WHOLE = """
    SELECT NOT EXISTS (SELECT FROM log_heads WHERE NOT closed)
        AND NOT EXISTS (SELECT FROM attempts AS a
            WHERE a.last_seq > 0 AND a.reason IS DISTINCT FROM 'infra-error'
                AND NOT EXISTS (SELECT FROM log_heads AS h
                    WHERE h.job_id = a.job_id AND h.attempt = a.attempt))
"""
_QUIET = """
    SELECT NOT EXISTS (SELECT FROM open_pipelines) AND NOT EXISTS (SELECT FROM outbox)
        AND NOT EXISTS (SELECT FROM requests WHERE state = 'RECEIVED')
        AND NOT EXISTS (SELECT FROM cancels AS c WHERE c.applied_at IS NULL
            AND EXISTS (SELECT FROM pipelines AS p WHERE p.id = c.pipeline_id))
        AND NOT EXISTS (SELECT FROM kafka_clusters AS k WHERE k.since IS NOT NULL AND k.done_at IS NULL
            AND k.met_at = (SELECT max(met_at) FROM kafka_clusters))
"""
