"""Policies of dispatch: quotas of tenants, limits, pools and orders about runners, set by hand.

Who sets one wakes all dispatchers, which read them again: {tenant: "*", kind: "policy"} in `changes.freed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, LiteralString

from psycopg import sql

from penstock.store.changes import Changes
from penstock.store.database import Database, to_json

EVERYBODY = "*"
"""As a tenant: each one that has no row of its own; as a pool: all of them together."""
LimitKind = Literal["tenant", "pool", "lock"]


def policies(db: Database) -> dict[str, list[dict[str, Any]]]:
    """All of them, as rows of their tables: {quotas, limits, pools, orders}.

    Limits have `opens_in`, too: seconds from now until the next job passes.
    """
    answer: dict[str, list[dict[str, Any]]] = db.call("policies_v1")
    return answer


def set_quota(  # noqa: PLR0913 - the columns of one row
    db: Database,
    changes: Changes,
    tenant: str,
    pool: str,
    *,
    weight: float = 1.0,
    minimum: int = 0,
    running: int | None = None,
    queued: int | None = None,
    actor: str,
) -> None:
    """Say what a tenant may have of a pool, each of them or `*`; None: any number.

    `running` counts what is claimed from now on; `queued`, unfinished jobs, is of pool `*` only.
    """
    _change(
        db,
        changes,
        "INSERT INTO quotas (tenant, pool, weight, minimum, running, queued) VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (tenant, pool) DO UPDATE SET weight = excluded.weight, minimum = excluded.minimum,"
        " running = excluded.running, queued = excluded.queued",
        (tenant, pool, weight, minimum, running, queued),
        actor,
    )


def drop_quota(db: Database, changes: Changes, tenant: str, pool: str, *, actor: str) -> bool:
    """Forget a quota. Returns whether there was one."""
    return _change(db, changes, "DELETE FROM quotas WHERE tenant = %s AND pool = %s", (tenant, pool), actor)


def set_limit(
    db: Database,
    changes: Changes,
    tenant: str,
    kind: LimitKind,
    name: str,
    *,
    per_second: float | None,
    burst: int = 1,
    actor: str,
) -> None:
    """Bound the rate of claims: of a tenant, of a pool, or of those that take a lock of the tenant.

    `name` is the pool's or the lock's, of kind `tenant` it is no matter; of kind `pool` the tenant is none.
    """
    _change(
        db,
        changes,
        "INSERT INTO limits (tenant, kind, name, per_second, burst, tokens, filled_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, clock_v1()) ON CONFLICT (tenant, kind, name) DO UPDATE"
        " SET per_second = excluded.per_second, burst = excluded.burst, tokens = excluded.tokens,"
        " filled_at = excluded.filled_at",
        (*_limit(tenant, kind, name), per_second, burst, burst),
        actor,
    )


def drop_limit(
    db: Database, changes: Changes, tenant: str, kind: LimitKind, name: str, *, actor: str
) -> bool:
    """Forget a limit. Returns whether there was one."""
    return _change(
        db,
        changes,
        "DELETE FROM limits WHERE tenant = %s AND kind = %s AND name = %s",
        _limit(tenant, kind, name),
        actor,
    )


def close_limit(
    db: Database, changes: Changes, tenant: str, name: str, seconds: float, *, actor: str
) -> None:
    """For so long nothing that takes the lock of this name is claimed for the tenant: it said 429."""
    db.call("close_limits_v1", to_json([{"tenant": tenant, "name": name, "seconds": seconds}]), None)
    changes.take(db.call("wake_v1", actor))


def pause_pool(db: Database, changes: Changes, pool: str, *, by: str, actor: str) -> None:
    """Claim nothing of a pool from now on; what runs goes on."""
    _change(
        db,
        changes,
        "INSERT INTO pools (pool, paused_at, paused_by) VALUES (%s, clock_v1(), %s)"
        " ON CONFLICT (pool) DO UPDATE SET paused_at = coalesce(pools.paused_at, excluded.paused_at),"
        " paused_by = excluded.paused_by",
        (pool, by),
        actor,
    )


def resume_pool(db: Database, changes: Changes, pool: str, *, actor: str) -> bool:
    """Let a pool go on. Returns whether it was paused."""
    return _change(
        db,
        changes,
        "UPDATE pools SET paused_at = NULL, paused_by = NULL WHERE pool = %s AND paused_at IS NOT NULL",
        (pool,),
        actor,
    )


def set_overtaking(db: Database, changes: Changes, pool: str, most: int, *, actor: str) -> None:
    """So many younger jobs may be claimed before one that waits for a lock which they want, too."""
    _change(
        db,
        changes,
        "INSERT INTO pools (pool, overtaking) VALUES (%s, %s)"
        " ON CONFLICT (pool) DO UPDATE SET overtaking = excluded.overtaking",
        (pool, most),
        actor,
    )


def order_runner(
    db: Database,
    changes: Changes,
    name: str,
    state: Literal["DRAINING", "QUARANTINED"],
    *,
    by: str,
    actor: str,
) -> None:
    """Give a runner no more jobs, in any session of its, until it is resumed."""
    _change(
        db,
        changes,
        "INSERT INTO runner_orders (name, state, by, at) VALUES (%s, %s, %s, clock_v1())"
        " ON CONFLICT (name) DO UPDATE SET state = excluded.state, by = excluded.by, at = excluded.at",
        (name, state, by),
        actor,
    )


def resume_runner(db: Database, changes: Changes, name: str, *, actor: str) -> bool:
    """Give a runner jobs again. Returns whether there was an order about it."""
    return _change(db, changes, "DELETE FROM runner_orders WHERE name = %s", (name,), actor)


def _limit(tenant: str, kind: LimitKind, name: str) -> tuple[str, str, str]:
    if kind == "tenant":
        return tenant, kind, tenant
    return (EVERYBODY if kind == "pool" else tenant), kind, name


def _change(
    db: Database, changes: Changes, statement: LiteralString, params: Sequence[Any], actor: str
) -> bool:
    """The statement and the waking are one transaction. Returns whether a row was changed."""
    woken = sql.SQL("WITH changed AS ({} RETURNING 1) SELECT wake_v1(%s) FROM changed")
    rows = db.rows(woken.format(sql.SQL(statement)), (*params, actor))
    for (answer,) in rows:
        changes.take(answer)
    return bool(rows)
