"""The outbox: events of committed transactions until their records are acked."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.store.changes import Changes
from penstock.store.database import Database


def relay(db: Database, *, older_than: float, limit: int) -> Changes:
    """Rows that their own process did not publish and delete in time."""
    changes = Changes()
    for row in db.one("SELECT relay_v1(%s, %s)", (older_than, limit)):
        changes.outbox_ids.append(row["id"])
        changes.take_events(row["events"])
    return changes


def acked(db: Database, outbox_ids: Sequence[str]) -> None:
    """Delete rows whose records are all acked."""
    db.rows("SELECT acked_v1(%s::uuid[])", (list(outbox_ids),))


def oldest_age(db: Database) -> float:
    """Seconds since the oldest row was written; 0 when there is none."""
    age: float = db.one(
        "SELECT coalesce(extract(epoch FROM clock_v1() - min(created_at))::float8, 0) FROM outbox"
    )
    return age
