"""What an explanation is made of: where a job stands, who stands before it, and what it needs."""
# ruff: noqa: S608 - statements are put together from literals of this module only, which pyright checks

from __future__ import annotations

from typing import Any, Final, LiteralString

from penstock.core.lanes import LANES
from penstock.store import fleet
from penstock.store.database import Database
from penstock.store.queries import utc

MOST_COUNTED: Final = 10_000
"""Jobs that are counted before one; how many more there are is no matter."""
MOST_NEEDS: Final = 100
"""Unfinished needs that are named."""
_LEVEL: LiteralString = "(2 * array_position(%(lanes)s::text[], r.lane) - r.immediate::int)"


def standing(db: Database, tenant: str, job_id: str) -> dict[str, Any] | None:
    """Facts about a job of the tenant, for an explanation of its state; None when it is not there.

    {job_id, pipeline_id, name, state, terminal, reason, exit_code, pool, lane, unmet, changed_at, queued_at,
    now, why (of `ready`), worker, worker_name, assigned_at, started_at, retry_at}. Of a QUEUED one with a
    `why` also `holder`: who holds that now, or whom it names; without one {ahead, position} and {runners,
    slots, taken}. Of a PENDING one `needs`: [{job_id, name, state}], those that have not ended.
    """
    found: dict[str, Any] | None = db.one(
        "SELECT json_build_object('job_id', j.id, 'pipeline_id', j.pipeline_id, 'name', j.name,"
        " 'state', j.state, 'terminal', j.state IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED'),"
        " 'reason', j.reason, 'exit_code', j.exit_code, 'pool', j.pool, 'lane', j.lane, 'unmet', j.unmet,"
        " 'changed_at', " + utc("j.changed_at") + ", 'now', " + utc("clock_v1()") + ","
        " 'queued_at', " + utc(
            "coalesce(r.queued_at, (SELECT max(t.at) FROM job_transitions AS t"
            " WHERE t.job_id = j.id AND t.state = 'QUEUED'))"
        ) + ", 'why', r.why, 'worker', l.session_id, 'worker_name', w.name,"
        " 'assigned_at', " + utc("l.assigned_at") + ", 'started_at', " + utc("l.started_at") + ","
        " 'retry_at', (SELECT " + utc("t.due_at") + " FROM timers AS t"
        " WHERE t.job_id = j.id AND t.kind = 'retry'))"
        " FROM jobs AS j LEFT JOIN ready AS r ON r.job_id = j.id LEFT JOIN leases AS l ON l.job_id = j.id"
        " LEFT JOIN workers AS w ON w.session_id = l.session_id WHERE j.id = %s::uuid AND j.tenant = %s",
        (job_id, tenant),
    )  # fmt: skip
    if found is None:
        return None
    if found["state"] == "PENDING":
        found["needs"] = _needs(db, job_id)
    elif found["state"] == "QUEUED" and found["why"]:
        found["holder"] = _holder(db, tenant, found["why"])
    elif found["state"] == "QUEUED":
        found |= _place(db, job_id) | fleet.room(db, found["pool"])
    return found


def _needs(db: Database, job_id: str) -> list[dict[str, str]]:
    rows = db.rows(
        "SELECT json_build_object('job_id', p.id, 'name', p.name, 'state', p.state)"
        " FROM edges AS e JOIN jobs AS p ON p.id = e.parent_id WHERE e.child_id = %s::uuid"
        " AND p.state NOT IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED') ORDER BY p.name, p.id LIMIT %s",
        (job_id, MOST_NEEDS),
    )
    return [row[0] for row in rows]


def _place(db: Database, job_id: str) -> dict[str, int]:
    """By lane and age: `ahead`, all that come before it in its pool; `position`, among those of its own lane.

    Short immediate tasks come before all others of their lane, and count among themselves. Nothing while it
    is not in the queue.
    """
    rows = db.rows(
        "WITH own AS (SELECT r.pool, r.queued_at, r.job_id, " + _LEVEL + " AS level FROM ready AS r"
        " WHERE r.job_id = %(job)s::uuid)"
        " SELECT count(o.level), count(*) FILTER (WHERE o.level = own.level) + 1 FROM own LEFT JOIN LATERAL ("
        "SELECT " + _LEVEL + " AS level FROM ready AS r WHERE r.pool = own.pool AND"
        " (" + _LEVEL + ", r.queued_at, r.job_id) < (own.level, own.queued_at, own.job_id) LIMIT %(most)s)"
        " AS o ON true GROUP BY own.job_id",
        {"lanes": list(LANES), "job": job_id, "most": MOST_COUNTED},
    )
    return {"ahead": rows[0][0], "position": rows[0][1]} if rows else {}


def _holder(db: Database, tenant: str, why: dict[str, Any]) -> dict[str, str] | None:
    """Who holds what it waits for at this moment, then with `since`; else who did, or waited for it first,
    when that was said: {job_id, name, pipeline_id, pipeline}, of a group only the pipeline.
    """
    detail = why["detail"] if isinstance(why.get("detail"), dict) else {}
    now = db.one(
        "SELECT json_build_object('id', h.holder, 'since', " + utc("h.since") + ") FROM holds AS h"
        " WHERE h.tenant = %s AND h.kind = %s AND h.name = %s ORDER BY h.since, h.holder LIMIT 1",
        (tenant, why["reason"], str(detail.get("name", ""))),
    )
    named = now["id"] if now else detail.get("held_by") or detail.get("behind")
    statement: LiteralString = (
        "SELECT json_build_object('job_id', j.id, 'name', j.name, 'pipeline_id', p.id, 'pipeline', p.name)"
        " FROM jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id"
        " WHERE j.id = %s::uuid AND j.tenant = %s"
    )
    if why["reason"] == "group" and (now or detail.get("held_by")):
        statement = (
            "SELECT json_build_object('pipeline_id', p.id, 'pipeline', p.name) FROM pipelines AS p"
            " WHERE p.id = %s::uuid AND p.tenant = %s"
        )
    found: dict[str, str] | None = db.one(statement, (named, tenant))
    return {**found, "since": now["since"]} if found and now else found
