"""Everything that a database holds of jobs and pipelines at once, for those who check what became of them."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.store.database import Database


class Books(msgspec.Struct, frozen=True):
    """All rows, as dicts by column name. Histories are sorted by their subject and version.

    `committed` of a transition orders transactions: of two, the greater one was begun later. `jobs` have the
    `needs` that their edges name, as ids, and their `condition`.
    """

    jobs: list[dict[str, Any]]
    pipelines: list[dict[str, Any]]
    job_transitions: list[dict[str, Any]]
    pipeline_transitions: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    cancels: list[dict[str, Any]]
    left: dict[str, int]
    """Rows of the tables that are empty when all is done: leases, ready, timers, outbox, open_pipelines."""


def books(db: Database) -> Books:
    """Read them in one statement, so that they fit together. Raises RetryLater."""
    return msgspec.convert(db.one(_BOOKS), Books)


def is_quiet(db: Database) -> bool:
    """Whether nothing is left to do: no open pipeline, no unsent event, no request or cancel that waits."""
    return bool(db.one(_QUIET))


_BOOKS = """
    SELECT json_build_object(
        'jobs', (SELECT coalesce(json_agg(j ORDER BY j.id), '[]') FROM (
            SELECT j.*, s.condition, ARRAY(SELECT e.parent_id FROM edges AS e WHERE e.child_id = j.id
                ORDER BY 1) AS needs
            FROM jobs AS j JOIN job_specs AS s ON s.job_id = j.id) AS j),
        'pipelines', (SELECT coalesce(json_agg(p ORDER BY p.id), '[]') FROM pipelines AS p),
        'job_transitions', (SELECT coalesce(json_agg(t ORDER BY t.job_id, t.version), '[]') FROM (
            SELECT t.*, t.xmin::text::bigint AS committed FROM job_transitions AS t) AS t),
        'pipeline_transitions', (SELECT coalesce(json_agg(t ORDER BY t.pipeline_id, t.version), '[]') FROM (
            SELECT t.*, t.xmin::text::bigint AS committed FROM pipeline_transitions AS t) AS t),
        'attempts', (SELECT coalesce(json_agg(a ORDER BY a.job_id, a.attempt), '[]') FROM attempts AS a),
        'requests', (SELECT coalesce(json_agg(r ORDER BY r.tenant, r.key), '[]') FROM requests AS r),
        'cancels', (SELECT coalesce(json_agg(c ORDER BY c.received_at, c.cancel_id), '[]')
            FROM cancels AS c),
        'left', json_build_object(
            'leases', (SELECT count(*) FROM leases), 'ready', (SELECT count(*) FROM ready),
            'timers', (SELECT count(*) FROM timers), 'outbox', (SELECT count(*) FROM outbox),
            'open_pipelines', (SELECT count(*) FROM open_pipelines)))
"""
_QUIET = """
    SELECT NOT EXISTS (SELECT FROM open_pipelines) AND NOT EXISTS (SELECT FROM outbox)
        AND NOT EXISTS (SELECT FROM requests WHERE state = 'RECEIVED')
        AND NOT EXISTS (SELECT FROM cancels AS c WHERE c.applied_at IS NULL
            AND EXISTS (SELECT FROM pipelines AS p WHERE p.id = c.pipeline_id))
"""
