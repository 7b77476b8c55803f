"""Databases as a whole: for tests and for setting up an installation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from psycopg import sql

from penstock.store.database import Database
from penstock.store.roles import role_of


def create_database(server: Database, name: str) -> None:
    """Make an empty database."""
    server.rows(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def drop_database(server: Database, name: str) -> None:
    """Remove a database with all its connections."""
    server.rows(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def set_passwords(server: Database, passwords: Mapping[str, str]) -> None:
    """Let services in. passwords: service -> password. Raises RetryLater when the server is away."""
    for service, password in passwords.items():
        role, secret = sql.Identifier(role_of(service)), sql.Literal(password)
        server.rows(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, secret))


def make_clock_virtual(db: Database) -> None:
    """From now on the time of this database is what `set_clock` says, for its every connection."""
    db.rows("CREATE TABLE virtual_clock (at timestamptz NOT NULL)")
    db.rows("INSERT INTO virtual_clock VALUES (clock_timestamp())")
    db.rows(
        "CREATE OR REPLACE FUNCTION clock_v1() RETURNS timestamptz LANGUAGE sql VOLATILE"
        " AS 'SELECT at FROM virtual_clock'"
    )
    db.rows(
        "CREATE FUNCTION set_virtual_clock(now double precision) RETURNS void LANGUAGE sql"
        " AS 'UPDATE virtual_clock SET at = to_timestamp(now)'"
    )


def make_repeatable(db: Database) -> None:
    """Vacuum and analyze no table that is there: no plan, and so no order of rows, changes under way."""
    leaves = db.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    alter = sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)")
    db.rows(sql.SQL("; ").join(alter.format(sql.Identifier(name)) for (name,) in leaves))


def set_clock(db: Database, now: float) -> None:
    """Unix seconds that a virtual clock shows from now on."""
    db.call("set_virtual_clock", now)


def replace_function(db: Database, text: str) -> None:
    """Run the text of a function's file, which may be changed on purpose."""
    db.rows(cast(Any, text))


def hold_table(db: Database, table: str, seconds: float) -> None:
    """Hold the strongest lock on a table for so long. Raises RetryLater."""
    hold = sql.SQL("BEGIN; LOCK TABLE {}; SELECT pg_sleep({}); COMMIT")
    db.rows(hold.format(sql.Identifier(table), sql.Literal(seconds)))


@contextlib.contextmanager
def held(db: Database, pipeline_id: str) -> Iterator[None]:
    """Hold the row by which a pipeline is counted down: who ends one of its jobs waits, at his very end."""
    db.rows("BEGIN")
    try:
        db.rows("SELECT FROM open_pipelines WHERE pipeline_id = %s::uuid FOR UPDATE", (pipeline_id,))
        yield
    finally:
        db.rows("ROLLBACK")


def lock_waits(db: Database) -> int:
    """How many transactions wait for another one's lock."""
    return int(
        db.one(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


def empty(db: Database, keep: Sequence[str] = ()) -> None:
    """Delete what was ever asked of Penstock: all rows, but of tenants, tokens and what is to `keep`."""
    tables = db.rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
        " AND relname <> ALL (%s::text[]) ORDER BY relname",
        (["schema_ledger", "virtual_clock", "tenants", "tokens", *keep],),
    )
    deletes = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for (name,) in tables]
    db.rows(sql.SQL("; ").join(deletes))
