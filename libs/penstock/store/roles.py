"""Login roles of the services: each connects as itself and may do only its own work (`roles/roles.sql`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from penstock.core.errors import RetryLater

SERVICES: Final = ("intake", "advancer", "dispatcher", "reaper", "canceller", "logs", "gateway")
"""Those that connect to Postgres; a runner never does."""


def role_of(service: str) -> str:
    """The role's name."""
    return f"penstock_{service}"


def service_dsn(dsn: str, service: str, password: str) -> str:
    """The same database, as a service's role."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role_of(service)}:{quote(password, safe='')}@{host}"))


def set_passwords(dsn: str, passwords: Mapping[str, str]) -> None:
    """Let services in. passwords: service -> password. Raises RetryLater when the server is away."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            for service, password in passwords.items():
                change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(role_of(service)), sql.Literal(password)
                )
                connection.execute(change)
    except psycopg.OperationalError as error:
        raise RetryLater(f"postgres: {error}".strip(), component="postgres") from error
