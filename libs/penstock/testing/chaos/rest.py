"""Whether an arena is at rest: nothing is left to do, and everything was read."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Callable
from typing import Final

from penstock.core.errors import RetryLater
from penstock.local.ports import HOST
from penstock.store import audit
from penstock.store.database import Database
from penstock.testing.chaos.arena import Arena

READERS: Final = ("intake", "advancer", "reaper", "canceller", "logs")
"""Services that say how far they are behind."""
_LAG: Final = re.compile(r"^penstock_consumer_lag\{[^}]*\} (\S+)$", re.MULTILINE)


def is_quiet(arena: Arena) -> bool:
    """Whether nothing is left to do, by the database; not while it is away."""
    return _says(arena, audit.is_quiet)


def logs_are_whole(arena: Arena) -> bool:
    """Whether all that was printed is stored, or was given up on; not while the database is away."""
    return _says(arena, audit.logs_are_whole)


def all_read(arena: Arena) -> bool:
    """Whether every service has read all there is."""
    return not any(lags(arena).values())


def lags(arena: Arena) -> dict[str, int]:
    """Records that a service has not read, as its replicas say; one that does not answer lags by one."""
    found: dict[str, int] = {}
    for one in arena.components():
        if one.name in READERS:
            found[one.name] = found.get(one.name, 0) + lag(one.port)
    return found


def lag(port: int) -> int:
    """Of the replica whose metrics are there."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except (OSError, http.client.HTTPException):  # away, or killed while it answered
        return 1
    return int(sum(map(float, _LAG.findall(text))))


def _says(arena: Arena, ask: Callable[[Database], bool]) -> bool:
    try:
        return ask(arena.db)
    except RetryLater:
        return False
