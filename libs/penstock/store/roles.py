"""Login roles of the services: each connects as itself and may do only its own work (`roles/roles.sql`)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

SERVICES: Final = ("intake", "advancer", "dispatcher", "reaper", "canceller", "logs", "gateway")
"""Those that connect to Postgres; a runner never does."""


def role_of(service: str) -> str:
    """The role's name."""
    return f"penstock_{service}"


def service_dsn(dsn: str, service: str, password: str | None = None) -> str:
    """The same database as a service's role, with this password or the one that is in `dsn`."""
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    secret = quote(password, safe="") if password is not None else parts.password or ""
    return urlunsplit(parts._replace(netloc=f"{role_of(service)}:{secret}@{host}"))
