"""Databases as a whole: for tests and for setting up an installation."""

from __future__ import annotations

from typing import LiteralString, cast

from penstock.store.database import Database


def create_database(server: Database, name: str) -> None:
    """Make an empty database. `name` is letters, digits and _."""
    server.rows(_statement("CREATE DATABASE", name))


def drop_database(server: Database, name: str) -> None:
    """Remove a database with all its connections."""
    server.rows(_statement("DROP DATABASE IF EXISTS", name, "WITH (FORCE)"))


def _statement(verb: LiteralString, name: str, tail: LiteralString = "") -> LiteralString:
    if not name.isidentifier() or not name.isascii():
        raise ValueError(f"{name!r} is not a database name")
    # An identifier cannot be a parameter; it was checked to be one and nothing else.
    return cast(LiteralString, f'{verb} "{name}" {tail}')
