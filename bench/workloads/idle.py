"""idle: what 50 to 1,000 runners without work cost Postgres: nothing beyond heartbeats taken in in bulk."""

from __future__ import annotations

import time
from typing import Any

from bench.field import Field
from bench.meter import Meter
from bench.stubs import Stubs

COUNTS, FEW_COUNTS = (50, 100, 250, 500, 1_000), (50, 250)
SECONDS, FEW_SECONDS = 180.0, 10.0
SLOTS = 8


def idle(field: Field, *, small: bool) -> dict[str, Any]:
    """By number of idle stub runners: statements_per_s beyond those of the services alone, cores of Postgres.

    A statement of a service is a transaction of its own, and transactions are counted. `0` are the services
    alone. `cpu_by_process` is cores with most stubs.
    """
    seconds = FEW_SECONDS if small else SECONDS
    commits: dict[int, float] = {}
    postgres: dict[int, float] = {}
    foreign = 0.0
    for count in (0, *(FEW_COUNTS if small else COUNTS)):
        meter = _meter(field, count, seconds)
        commits[count] = meter.commits / meter.wall_s
        postgres[count] = meter.cpu["postgres"] / meter.wall_s
        foreign = max(foreign, meter.foreign_cores)
    return {
        "statements_per_s": {str(count): round(rate - commits[0], 2) for count, rate in commits.items()},
        "statements_per_s_of_services": round(commits[0], 2),
        "cores": {str(count): round(used, 4) for count, used in postgres.items()},
        "cpu_by_process": {name: round(used / meter.wall_s, 4) for name, used in sorted(meter.cpu.items())},
        "foreign_cores": round(foreign, 2),
        "seconds": seconds,
        "n": count,
    }


def _meter(field: Field, count: int, seconds: float) -> Meter:
    if count == 0:
        with Meter(field.subject) as meter:
            time.sleep(seconds)
        return meter
    with Stubs(field, count, SLOTS) as fleet:
        fleet.settle()
        with Meter(field.subject) as meter:
            time.sleep(seconds)
    return meter
