"""B1: 2,000 independent no-op jobs in a burst, one tenant, one runner with 8 slots."""

from __future__ import annotations

from typing import Any

from bench.door import Door, noop
from bench.meter import Meter
from bench.stack import UnderTest
from bench.stages import stages_ms

JOBS = 2_000
PIPELINES = 20


def b1(subject: UnderTest, door: Door) -> dict[str, Any]:
    """jobs_per_s from the first event sent to the last SUCCESS committed."""
    definition = noop({f"job-{n}": [] for n in range(JOBS // PIPELINES)})
    with Meter(subject) as meter:
        ids = door.submit([definition] * PIPELINES)
        door.wait(ids)
    seconds = door.finished_at(ids) - door.sent[ids[0]]
    door.verify(ids, JOBS)
    return {
        "jobs_per_s": round(JOBS / seconds),
        "seconds": round(seconds, 3),
        "stages_ms": stages_ms(door, ids),
        **meter.figures(JOBS),
    }
