"""Databases as a whole: for tests and for setting up an installation."""

from __future__ import annotations

from psycopg import sql

from penstock.store.database import Database


def create_database(server: Database, name: str) -> None:
    """Make an empty database."""
    server.rows(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def drop_database(server: Database, name: str) -> None:
    """Remove a database with all its connections."""
    server.rows(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
