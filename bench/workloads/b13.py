"""B13: all services up and no work for 60 s; and the time from a cold start to the first job done."""

from __future__ import annotations

import time
from typing import Any

from bench.door import Door, noop
from bench.meter import Meter, rss_mb
from bench.stack import SERVERS, UnderTest

IDLE_SECONDS = 60.0


def b13(subject: UnderTest, door: Door) -> dict[str, Any]:
    """cores and rss_mb without the three servers; first_job_s is a lone job on the idle stack."""
    with Meter(subject) as meter:
        time.sleep(IDLE_SECONDS)
    ours = {name: seconds for name, seconds in meter.cpu.items() if name not in (*SERVERS, "bench")}
    pids = subject.pids()
    ids = door.submit([noop({"job": []})])
    door.wait(ids)
    first = door.finished_at(ids) - door.sent[ids[0]]
    door.verify(ids, 1)
    return {
        "cores": round(sum(ours.values()) / meter.wall_s, 4),
        "cores_of_servers": round(sum(meter.cpu[name] for name in SERVERS) / meter.wall_s, 4),
        "rss_mb": round(sum(rss_mb(pids[name]) for name in pids if name not in (*SERVERS, "bench"))),
        "first_job_s": round(first, 3),
        "cpu_by_process": {name: round(s / meter.wall_s, 4) for name, s in sorted(meter.cpu.items())},
        "foreign_cores": round(meter.foreign_cores, 2),
        "n": 1,
    }
