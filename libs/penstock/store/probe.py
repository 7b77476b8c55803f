"""Is Postgres answering?"""

from __future__ import annotations

from penstock.store.database import Database


def probe(dsn: str) -> None:
    """One query. Raises RetryLater while the server does not answer it."""
    database = Database(dsn, "penstock-probe")
    try:
        database.one("SELECT 1")
    finally:
        database.close()
