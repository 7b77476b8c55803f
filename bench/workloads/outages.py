"""Outages of 60 s with 500 jobs that run: Postgres or Kafka down, or standing still."""

from __future__ import annotations

from typing import Any

from bench.field import Field
from bench.outage import How, Server, outage

JOBS, SECONDS = 500, 60.0
FEW, SHORT_SECONDS = 30, 12.0


class Outage:
    """A workload: one server, away in one way."""

    def __init__(self, server: Server, how: How) -> None:
        self._server: Server = server
        self._how: How = how

    def __call__(self, field: Field, *, small: bool) -> dict[str, Any]:
        """As `bench.outage.outage` tells; first_dispatch_s is counted from when the server answers again."""
        jobs, seconds = (FEW, SHORT_SECONDS) if small else (JOBS, SECONDS)
        return outage(field, self._server, self._how, jobs=jobs, seconds=seconds)
