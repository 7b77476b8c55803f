"""What operators see of runners and pools: sessions by heartbeats, and what was said of them by hand."""
# ruff: noqa: S608 - statements are put together from literals of this module only, which pyright checks

from __future__ import annotations

from typing import Any, LiteralString

from penstock.store.database import Database

_ROOM: LiteralString = (
    "count(*) AS runners, coalesce(sum(w.slots), 0) AS slots,"
    " coalesce(sum(least(w.attempts, w.slots)), 0) AS taken FROM workers AS w WHERE w.kind = 'runner'"
    " AND w.state IN ('IDLE', 'BUSY')"
    " AND NOT EXISTS (SELECT FROM runner_orders AS o WHERE o.name = w.name)"
)
"""Of runners that are there and take jobs."""


def runners(db: Database) -> list[dict[str, Any]]:
    """Sessions of runners by pool and name, the newest of a name first, and orders about those without any.

    {name, order: null or {state, by, at}, session_id, pool, state, slots, attempts, labels, capacity,
    registered_at, seen_at}; without a session those from `session_id` on are null.
    """
    rows = db.rows(
        "SELECT json_build_object('name', coalesce(w.name, o.name), 'order', CASE WHEN o.name IS NOT NULL"
        " THEN json_build_object('state', o.state, 'by', o.by, 'at', o.at) END,"
        " 'session_id', w.session_id, 'pool', w.pool, 'state', w.state, 'slots', w.slots,"
        " 'attempts', w.attempts, 'labels', w.labels, 'capacity', w.capacity,"
        " 'registered_at', w.registered_at, 'seen_at', w.seen_at)"
        " FROM (SELECT * FROM workers WHERE kind = 'runner') AS w"
        " FULL JOIN runner_orders AS o ON o.name = w.name"
        " ORDER BY w.pool, coalesce(w.name, o.name), w.registered_at DESC, w.session_id"
    )
    return [row[0] for row in rows]


def living(db: Database, name: str) -> int:
    """Attempts that the runner of this name holds, in all its sessions."""
    count: int = db.one(
        "SELECT count(*) FROM workers AS w JOIN leases AS l ON l.session_id = w.session_id"
        " WHERE w.kind = 'runner' AND w.name = %s",
        (name,),
    )
    return count


def pools(db: Database) -> list[dict[str, Any]]:
    """Every pool that has a runner, a job in the queue, or about which something was said, by name.

    {pool, runners, slots, taken, queued, oldest_at, paused_at, paused_by, overtaking}.
    """
    rows = db.rows(
        "WITH w AS (SELECT w.pool, " + _ROOM + " GROUP BY w.pool),"
        " q AS (SELECT r.pool, count(*) AS queued, min(r.queued_at) AS oldest_at"
        " FROM ready AS r GROUP BY r.pool), k AS (SELECT w.pool FROM w UNION SELECT q.pool FROM q"
        " UNION SELECT p.pool FROM pools AS p)"
        " SELECT json_build_object('pool', k.pool, 'runners', coalesce(w.runners, 0),"
        " 'slots', coalesce(w.slots, 0), 'taken', coalesce(w.taken, 0), 'queued', coalesce(q.queued, 0),"
        " 'oldest_at', q.oldest_at, 'paused_at', p.paused_at, 'paused_by', p.paused_by,"
        " 'overtaking', coalesce(p.overtaking, 0)) FROM k LEFT JOIN w ON w.pool = k.pool"
        " LEFT JOIN q ON q.pool = k.pool LEFT JOIN pools AS p ON p.pool = k.pool ORDER BY k.pool"
    )
    return [row[0] for row in rows]


def room(db: Database, pool: str) -> dict[str, int]:
    """What the runners of a pool have: {runners, slots, taken}."""
    found: dict[str, int] = db.one(
        "SELECT to_json(r) FROM (SELECT " + _ROOM + " AND w.pool = %s) AS r",
        (pool,),
    )
    return found
