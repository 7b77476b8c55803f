"""Databases as a whole: for tests and for setting up an installation."""

from __future__ import annotations

from collections.abc import Mapping

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
