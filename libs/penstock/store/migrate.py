"""Migrations: numbered SQL files once each, function and role files whenever their text is new.

Files are plain SQL in the wheel. A migration runs in a transaction unless its first line is
`-- no-transaction`. A migration that was applied may never change: its checksum is kept. Function files are
`CREATE OR REPLACE`; a released function is never edited but followed by a new version, so the old one stays
for the release before. One advisory lock per transaction keeps two runners apart. Runs on a direct
connection, never through a pooler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Any, cast

import psycopg
from psycopg import sql

from penstock.core.errors import RetryLater, StopProcess
from penstock.store.database import Database

_LOCK = 7305466108
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_ledger (
    file       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""
WEEKS_AHEAD = 4
"""Partitions made ahead, in weeks."""


def pending(dsn: str) -> list[str]:
    """Files that `migrate` would run now. Raises RetryLater when the server is away."""
    with _connect(dsn) as connection:
        exists = connection.execute("SELECT to_regclass('schema_ledger')").fetchone()
        applied = _applied(connection) if exists and exists[0] else {}
        return [name for name, text, _ in _files() if applied.get(name) != _checksum(text)]


def migrate(dsn: str) -> list[str]:
    """Bring the schema up to date. Returns the files that ran; none when there was nothing to do.

    Raises:
        RetryLater: the server is away.
        StopProcess: an applied migration's file was changed, or a statement failed.
    """
    ran: list[str] = []
    with _connect(dsn) as connection:
        with connection.transaction():
            _lock(connection)
            connection.execute(_LEDGER)
        for name, text, repeatable in _files():
            if _apply(connection, name, text, repeatable=repeatable):
                ran.append(name)
        connection.execute("SELECT ensure_partitions_v1(%s)", (WEEKS_AHEAD,))
    return ran


def ensure_partitions(db: Database) -> list[str]:
    """Make the partitions of the coming weeks. Returns the names of those that are new."""
    made: list[str] = db.one("SELECT ensure_partitions_v1(%s)", (WEEKS_AHEAD,))
    return made


def detach_partitions(db: Database, keep_weeks: int) -> list[str]:
    """Detach partitions older than so many weeks; they stay as tables. Returns the names of those tables."""
    gone: list[str] = db.one("SELECT detach_partitions_v1(%s)", (keep_weeks,))
    return gone


def _apply(connection: psycopg.Connection[Any], name: str, text: str, *, repeatable: bool) -> bool:
    checksum = _checksum(text)
    if text.startswith("-- no-transaction"):
        return _apply_bare(connection, name, text, checksum)
    with connection.transaction():
        _lock(connection)
        old = _applied(connection).get(name)
        if old == checksum:
            return False
        if old is not None and not repeatable:
            raise StopProcess(f"migration {name} was applied with another text; write a new one instead")
        _execute(connection, name, text)
        _record(connection, name, checksum)
    return True


def _apply_bare(connection: psycopg.Connection[Any], name: str, text: str, checksum: str) -> bool:
    if name in _applied(connection):
        return False
    _execute(connection, name, text)
    _record(connection, name, checksum)
    return True


def _execute(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    try:
        connection.execute(sql.SQL(cast(Any, text)))
    except psycopg.Error as error:
        raise StopProcess(f"{name}: {error}") from error


def _record(connection: psycopg.Connection[Any], name: str, checksum: str) -> None:
    connection.execute(
        "INSERT INTO schema_ledger (file, checksum) VALUES (%s, %s)"
        " ON CONFLICT (file) DO UPDATE SET checksum = excluded.checksum, applied_at = clock_timestamp()",
        (name, checksum),
    )


def _applied(connection: psycopg.Connection[Any]) -> dict[str, str]:
    return dict(connection.execute("SELECT file, checksum FROM schema_ledger").fetchall())


def _lock(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def _files() -> Iterator[tuple[str, str, bool]]:
    """(name, text, may run again when its text is new), in the order in which they run."""
    for folder, repeatable in (("migrations", False), ("functions", True), ("roles", True)):
        files = resources.files("penstock.store") / folder
        texts = {file.name: file.read_text("utf-8") for file in files.iterdir() if file.name.endswith(".sql")}
        for name in _ordered(texts):
            yield f"{folder}/{name}", texts[name], repeatable


def _ordered(texts: dict[str, str]) -> list[str]:
    """Callees before callers: a function in SQL is checked when it is made."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in ordered:
            return
        for other in sorted(texts):
            if other != name and other.removesuffix(".sql") + "(" in texts[name]:
                visit(other)
        ordered.append(name)

    for name in sorted(texts):
        visit(name)
    return ordered


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _connect(dsn: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(dsn, autocommit=True, application_name="penstock-migrate", connect_timeout=5)
    except psycopg.OperationalError as error:
        raise RetryLater(f"postgres: {error}".strip(), component="postgres") from error
