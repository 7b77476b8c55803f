"""B9: one tenant's flood, and how long the jobs of another, and its own critical ones, wait besides.

Tenant A has a backlog of 20,000 NORMAL jobs; tenant B submits a NORMAL job a second, A a CRITICAL one.

Stub runners with 400 slots take jobs of 1 to 3 s: about 200 slots come free a second, one every 5 ms. So all
slots are busy, the backlog lasts for longer than is measured, and the wait for the next slot, which no policy
can spare, is small beside what is measured. The durations differ, for those of one length, begun together,
would all end together, and for the time between there would be no slot for anybody.
"""

from __future__ import annotations

import random
import time
from typing import Any

from bench.door import percentile
from bench.field import Field
from bench.load import Arrival, open_loop
from bench.meter import Meter
from bench.stages import stages_ms
from bench.stubs import Stubs, lasting, warm

STUBS, SLOTS = 50, 8
BACKLOG, SECONDS = 20_000, 60
FEW_STUBS, FEW_BACKLOG, FEW_SECONDS = 10, 600, 5
PIPELINE = 1_000
"""Most jobs of one pipeline."""
RAMP_SECONDS = 5.0
"""After so long all slots are busy, and come free at different times."""
SHORTEST, LONGEST = 1.0, 3.0


def b9(field: Field, *, small: bool) -> dict[str, Any]:
    """ratio_normal of B's and ratio_critical of A's critical jobs: p99 with the backlog to p99 without.

    Each is submit-to-start, as in B4; `ratio` is the larger one. `cores` are those of all but the stubs while
    there is a backlog; the jobs of the flood that end meanwhile count in `n`. With a sample a second p99 is
    the longest wait.
    """
    stubs, backlog, seconds = (FEW_STUBS, FEW_BACKLOG, FEW_SECONDS) if small else (STUBS, BACKLOG, SECONDS)
    draw = random.Random(9)
    warm(field)
    with Stubs(field, stubs, SLOTS) as fleet:
        fleet.settle()
        idle = _waits(field, _side_by_side(field, draw, seconds))
        size = min(PIPELINE, backlog)
        flood = field.door.submit([_flood(draw, size) for _ in range(backlog // size)], "tenant-a")
        field.until(lambda: field.count(flood, "RUNNING") >= stubs * SLOTS * 0.9, "the slots are busy")
        time.sleep(RAMP_SECONDS)
        ended = field.count(flood, "SUCCESS")
        with Meter(field.subject) as meter:
            ids = _side_by_side(field, draw, seconds)
        ended = field.count(flood, "SUCCESS") - ended
        left = field.count(flood, "QUEUED")
        loaded = _waits(field, ids)
    cores = {name: used / meter.wall_s for name, used in meter.cpu.items() if name != "bench"}
    ratios = {f"ratio_{name}": round(_p99(loaded[name]) / _p99(idle[name]), 2) for name in idle}
    return {
        "ratio": max(ratios.values()),
        **ratios,
        "idle_p99_ms": {name: round(_p99(waits), 1) for name, waits in idle.items()},
        "p99_ms": {name: round(_p99(waits), 1) for name, waits in loaded.items()},
        "p50_ms": {name: round(percentile(waits, 0.5), 1) for name, waits in loaded.items()},
        "stages_ms": stages_ms(field.door, ids),
        "backlog_at_end": left,
        "cores": round(sum(cores.values()), 3),
        "slots": stubs * SLOTS,
        "samples": len(ids),
        **meter.figures(len(ids) + ended),
    }


def _side_by_side(field: Field, draw: random.Random, seconds: int) -> list[str]:
    """One of B's and one critical job a second, in turn."""
    arrivals: list[Arrival] = []
    for second in range(seconds):
        arrivals.append(Arrival(second, {"name": "b", "jobs": {"job": _job(draw)}}, "tenant-b"))
        urgent = {"name": "urgent", "jobs": {"job": _job(draw, priority="critical")}}
        arrivals.append(Arrival(second + 0.5, urgent, "tenant-a"))
    ids = open_loop(field.door, arrivals)
    field.door.wait(ids)
    return ids


def _waits(field: Field, ids: list[str]) -> dict[str, list[float]]:
    field.door.verify(ids, len(ids))
    return {"normal": field.door.waits(ids[::2]), "critical": field.door.waits(ids[1::2])}


def _flood(draw: random.Random, size: int) -> dict[str, Any]:
    return {"name": "flood", "jobs": {f"job-{n}": _job(draw) for n in range(size)}}


def _job(draw: random.Random, **more: Any) -> dict[str, Any]:
    return lasting(draw.uniform(SHORTEST, LONGEST), **more)


def _p99(waits: list[float]) -> float:
    return percentile(waits, 0.99)
