"""An open loop: pipelines come when they come, whatever becomes of those before."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench.door import Door


class Arrival(NamedTuple):
    """One pipeline, so many seconds after the beginning."""

    at: float
    definition: dict[str, Any]
    tenant: str = "default"


def steady(rate: float, seconds: float, definition: dict[str, Any], tenant: str = "default") -> list[Arrival]:
    """So many a second."""
    return [Arrival(n / rate, definition, tenant) for n in range(int(rate * seconds))]


def open_loop(door: Door, arrivals: Iterable[Arrival]) -> list[str]:
    """Submit each at its time; their ids, in the order of time."""
    ids: list[str] = []
    begin = time.monotonic()
    for arrival in sorted(arrivals, key=lambda one: one.at):
        time.sleep(max(0.0, begin + arrival.at - time.monotonic()))
        ids += door.submit([arrival.definition], arrival.tenant)
    return ids
