"""The outbox: events of committed transactions until their records are acked."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from penstock.core.errors import RetryLater
from penstock.store.changes import Changes
from penstock.store.database import Database

ACKS_AT_ONCE: Final = 200
"""Acked rows are deleted in bulk: by so many, or at the next tick."""


class Acks:
    """Outbox rows whose records are acked and which wait to be deleted; `add` may be called by any thread."""

    def __init__(self) -> None:
        self._ids: deque[str] = deque()

    def add(self, outbox_ids: Sequence[str]) -> None:
        """Their records are acked."""
        self._ids.extend(outbox_ids)

    def full(self) -> bool:
        """Whether it is worth a transaction."""
        return len(self._ids) >= ACKS_AT_ONCE

    def flush(self, db: Database) -> None:
        """Delete them. After a `RetryLater` they wait on; the relay publishes and deletes them at worst."""
        ids = [self._ids.popleft() for _ in range(len(self._ids))]
        if not ids:
            return
        try:
            acked(db, ids)
        except RetryLater:
            self._ids.extend(ids)
            raise


def relay(db: Database, changes: Changes, *, older_than: float, limit: int) -> None:
    """Take the rows that their own process did not publish and delete in time."""
    for row in db.call("relay_v1", older_than, limit):
        changes.outbox_ids.append(row["id"])
        changes.take_events(row["events"])


def acked(db: Database, outbox_ids: Sequence[str]) -> None:
    """Delete rows whose records are all acked."""
    db.call("acked_v1", list(outbox_ids))


def oldest_age(db: Database) -> float:
    """Seconds since the oldest row was written; 0 when there is none."""
    age: float = db.one(
        "SELECT coalesce(extract(epoch FROM clock_v1() - min(created_at))::float8, 0) FROM outbox"
    )
    return age
