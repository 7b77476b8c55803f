"""B12: the required load. (a) 5,000 jobs a minute as they come; (b) 83 a second beside 25,000 that run.

Stub runners take all of them. (a): each job is a pipeline of its own, as B4 has them, drawn from ten kinds:
1 to 5 s long, some of them of a higher lane, of two tenants. (b): most stubs are full of jobs that they hold
until the end; the last one has the slots for the short jobs, each of which is over as soon as it starts.
"""

from __future__ import annotations

import random
from typing import Any

from bench.door import percentile
from bench.draws import poisson
from bench.field import Field
from bench.load import Arrival, open_loop, steady
from bench.meter import Meter
from bench.stages import stages_ms
from bench.stubs import HELD, Stubs, lasting, warm

RATE = 5_000 / 60
SECONDS, FEW_SECONDS = 300, 10
STUBS, SLOTS = 50, 16
"""800 slots, of which 250 are busy on average."""
HOLDERS, FEW_HOLDERS, HELD_EACH = 250, 5, 100
SHORT_RATE, SHORT_SECONDS = 83, 120
SHORT_SLOTS = 16
PIPELINE = 1_000
"""Most jobs of one pipeline."""
PATIENCE_SECONDS = 300.0
KINDS = [
    (lasting(1.0 + 4.0 * n / 9, **({} if n < 8 else {"priority": "high"})), ("default", "tenant-b")[n % 2])
    for n in range(10)
]
"""Job and tenant."""
OPEN = "SELECT count(*) FROM ready"


def b12(field: Field, *, small: bool) -> dict[str, Any]:
    """p50_ms and p99_ms of submit-to-start; cores of all but the stubs; backlog: queued when the last came.

    They are those of (a); with `_held` they are those of the short jobs of (b), and `running_held` the jobs
    that are held all the time.
    """
    warm(field)
    figures = _a(field, FEW_SECONDS if small else SECONDS)
    others = _b(field, *((FEW_HOLDERS, FEW_SECONDS) if small else (HOLDERS, SHORT_SECONDS)))
    return {**figures, **{f"{name}_held": value for name, value in others.items()}}


def _a(field: Field, seconds: float) -> dict[str, Any]:
    draw = random.Random(12)
    arrivals = []
    for at in poisson(RATE, seconds, seed=12):
        job, tenant = draw.choice(KINDS)
        arrivals.append(Arrival(at, {"name": "mix", "jobs": {"job": job}}, tenant))
    with Stubs(field, STUBS, SLOTS) as fleet:
        fleet.settle()
        return _measured(field, arrivals)


def _b(field: Field, holders: int, seconds: float) -> dict[str, Any]:
    held = holders * HELD_EACH
    size = min(PIPELINE, held)
    with Stubs(field, holders, HELD_EACH):
        jobs = {f"job-{n}": HELD for n in range(size)}
        ids = field.submit(jobs, held // size)
        what = f"{held} jobs are RUNNING"
        field.until(lambda: field.count(ids, "RUNNING") == held, what, PATIENCE_SECONDS)
        with Stubs(field, 1, SHORT_SLOTS) as fleet:
            fleet.settle()
            short = {"name": "short", "jobs": {"job": lasting(0.0)}}
            figures = _measured(field, steady(SHORT_RATE, seconds, short))
        return {**figures, "running": field.count(ids, "RUNNING")}


def _measured(field: Field, arrivals: list[Arrival]) -> dict[str, Any]:
    with Meter(field.subject) as meter:
        ids = open_loop(field.door, arrivals)
        backlog = int(field.db.one(OPEN))
    field.door.wait(ids)
    waits = field.door.waits(ids)
    field.door.verify(ids, len(ids))
    cores = {name: used / meter.wall_s for name, used in meter.cpu.items() if name != "bench"}
    return {
        "p50_ms": round(percentile(waits, 0.5), 2),
        "p99_ms": round(percentile(waits, 0.99), 2),
        "max_ms": round(max(waits), 1),
        "cores": round(sum(cores.values()), 3),
        "backlog": backlog,
        "stages_ms": stages_ms(field.door, ids),
        "seconds": round(meter.wall_s),
        **meter.figures(len(ids)),
    }
