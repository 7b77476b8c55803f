"""Sessions of processes: heartbeats of runners, addresses of log replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.store.database import Database, to_json


def renew(
    db: Database, heartbeats: Sequence[dict[str, Any]], held: Sequence[dict[str, Any]], *, ttl_seconds: float
) -> list[dict[str, Any]]:
    """Take in heartbeats and renew the leases they hold (shapes: `renew_v1.sql`).

    Returns {session_id, job_id, attempt, verdict, started} for each held attempt.
    """
    answer: list[dict[str, Any]] = db.call("renew_v1", to_json(heartbeats), to_json(held), ttl_seconds)
    return answer


def register(
    db: Database,
    *,
    session_id: str,
    kind: str,
    name: str,
    address: str,
    partitions: Sequence[int],
    leaving: bool = False,
) -> None:
    """Say where a replica is reached and which log partitions it owns."""
    db.call("register_v1", session_id, kind, name, address, list(partitions), leaving)


def log_owner(db: Database, partition: int, *, seen_within: float) -> str | None:
    """host:port of the `logs` replica that owns the partition; the newest claim wins."""
    found: str | None = db.one(
        "SELECT address FROM workers WHERE kind = 'logs' AND state <> 'OFFLINE' AND %s = ANY(partitions)"
        " AND seen_at > clock_v1() - make_interval(secs => %s) ORDER BY seen_at DESC LIMIT 1",
        (partition, seen_within),
    )
    return found


def mark_silent(db: Database, *, ttl_seconds: float) -> None:
    """OFFLINE for sessions not heard of for a TTL; those silent for a day go, but for a runner's name."""
    db.rows(
        "UPDATE workers SET state = 'OFFLINE' WHERE state <> 'OFFLINE'"
        " AND seen_at < clock_v1() - make_interval(secs => %s)",
        (ttl_seconds,),
    )
    db.rows(
        "WITH gone AS (DELETE FROM workers WHERE state = 'OFFLINE'"
        " AND seen_at < clock_v1() - interval '1 day' RETURNING session_id, kind, name, seen_at)"
        " INSERT INTO past_workers (session_id, name, seen_at)"
        " SELECT session_id, name, seen_at FROM gone WHERE kind = 'runner' ORDER BY session_id"
        " ON CONFLICT (session_id) DO NOTHING"
    )
    db.rows("DELETE FROM past_workers WHERE seen_at < clock_v1() - interval '13 weeks'")


def sessions(db: Database, kind: str) -> list[dict[str, Any]]:
    """Worker rows of a kind, newest first."""
    rows = db.rows(
        "SELECT to_json(w) FROM workers AS w WHERE kind = %s ORDER BY registered_at DESC, session_id", (kind,)
    )
    return [row[0] for row in rows]
