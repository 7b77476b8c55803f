"""B7: 10,000 RUNNING leases held by 100 stub runners for 5 minutes; then some of them go silent."""

from __future__ import annotations

import math
import time
from typing import Any

from bench.door import noop, percentile
from bench.field import Field
from bench.meter import Meter
from bench.stubs import Stubs

STUBS, SLOTS, SECONDS = 100, 100, 300.0
FEW_STUBS, FEW_SLOTS, FEW_SECONDS = 10, 20, 20.0
SILENT = 8
"""At most, all over the period of heartbeats: the leases of one end at the same moment."""
PIPELINE = 1_000
"""Most jobs of one pipeline."""


def b7(field: Field, *, small: bool) -> dict[str, Any]:
    """cores of all but the stubs while the leases are held; p99_ms from a lease's end to QUEUED again.

    `false_reclaims` counts attempts taken from stubs that were heard.
    """
    stubs, slots = (FEW_STUBS, FEW_SLOTS) if small else (STUBS, SLOTS)
    total = stubs * slots
    with Stubs(field, stubs, slots) as fleet:
        size = min(PIPELINE, total)
        ids = field.door.submit([noop({f"job-{n}": [] for n in range(size)})] * (total // size))
        field.until(lambda: field.count(ids, "RUNNING") == total, f"{total} jobs are RUNNING")
        with Meter(field.subject) as meter:
            time.sleep(FEW_SECONDS if small else SECONDS)
        false = len(_lost(field, ids))
        victims = fleet.all[:: math.ceil(stubs / SILENT)]
        for victim in victims:
            victim.silent = True
        gone = sum(len(victim.held) for victim in victims)
        time.sleep(field.heartbeat / 2)  # their last heartbeats are taken in
        ends = _ends(field, [victim.session for victim in victims])
        field.until(lambda: len(_lost(field, ids)) >= gone, "the jobs of the silent ones are QUEUED again")
        lost = _lost(field, ids)
        false += len(set(lost) - set(ends))
    waits = [(at - ends[job]) * 1000 for job, at in lost.items() if job in ends]
    cores = {name: s / meter.wall_s for name, s in meter.cpu.items() if name != "bench"}
    return {
        "cores": round(sum(cores.values()), 3),
        "p99_ms": round(percentile(waits, 0.99), 1),
        "p50_ms": round(percentile(waits, 0.5), 1),
        "false_reclaims": false,
        "leases": total,
        "seconds": round(meter.wall_s),
        "cores_by_process": {name: round(used, 4) for name, used in sorted(cores.items())},
        "foreign_cores": round(meter.foreign_cores, 2),
        "n": gone,
    }


def _lost(field: Field, ids: list[str]) -> dict[str, float]:
    """Job -> when it was taken from its runner."""
    return {row[0]: row[5] for row in field.transitions(ids) if row[4] in ("worker-lost", "start-timeout")}


def _ends(field: Field, sessions: list[str]) -> dict[str, float]:
    """Job -> end of its lease, of all that these sessions hold."""
    rows = field.db.rows(
        "SELECT job_id::text, extract(epoch FROM expires_at)::float8 FROM leases"
        " WHERE session_id = ANY(%s::uuid[])",
        (sessions,),
    )
    return {row[0]: row[1] for row in rows}
