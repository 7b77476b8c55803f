"""A database of its own for a test module: made, migrated, dropped."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from penstock.store.database import Database
from penstock.store.migrate import migrate
from penstock.store.setup import create_database, drop_database


@contextlib.contextmanager
def fresh_database(dsn: str, *, migrated: bool = True) -> Iterator[str]:
    """The libpq URL of a new, empty database on the same server."""
    name = f"test_{secrets.token_hex(6)}"
    server = Database(dsn, "penstock-test")
    create_database(server, name)
    parts = urlsplit(dsn)
    fresh = urlunsplit(parts._replace(path=f"/{name}"))
    try:
        if migrated:
            migrate(fresh)
        yield fresh
    finally:
        drop_database(server, name)
        server.close()
