"""B10: 200 jobs that run `sleep 600`, and their pipelines cancelled at once."""

from __future__ import annotations

import os
import select
import time
from typing import Any

from bench.door import percentile
from bench.field import Field, is_gone, processes_of
from bench.meter import Meter

JOBS = 200
FEW = 20
PATIENCE_SECONDS = 60.0
SETTLE_SECONDS = 2.0


def b10(field: Field, *, small: bool) -> dict[str, Any]:
    """p50_ms and p99_ms from the request, sent by the event door, to the death of each job's process.

    `survivors` are processes of these jobs that live 2 s after the last of them was told to be dead.
    """
    count = FEW if small else JOBS
    job = {"run": "exec sleep 600", "env": {"FIELD": str(field.folder)}}
    ids = field.submit({"sleep": job}, count)
    field.until(lambda: field.count(ids, "RUNNING") == count, "all jobs run")
    field.until(lambda: len(processes_of(field.folder)) == count, "all processes are there")
    watched = {os.pidfd_open(pid): pid for pid in processes_of(field.folder)}
    with Meter(field.subject) as meter:
        sent = field.cancel(ids)
        ended = _deaths(list(watched))
        field.until(lambda: field.count(ids, "CANCELLED") == count, "all jobs are CANCELLED")
    time.sleep(SETTLE_SECONDS)
    survivors = [pid for pid in {*processes_of(field.folder), *watched.values()} if not is_gone(pid)]
    for descriptor in watched:
        os.close(descriptor)
    waits = [(at - sent) * 1000 for at in ended] or [PATIENCE_SECONDS * 1000]
    rows = field.transitions(ids)
    ordered = [row[5] for row in rows if row[2] == "CANCELLING"]
    settled = [row[5] for row in rows if row[2] == "CANCELLED"]
    return {
        "p50_ms": round(percentile(waits, 0.5), 1),
        "p99_ms": round(percentile(waits, 0.99), 1),
        "max_ms": round(max(waits), 1),
        "survivors": len(survivors),
        "cancelling_p99_ms": round((percentile(ordered, 0.99) - sent) * 1000, 1),
        "cancelled_p99_ms": round((percentile(settled, 0.99) - sent) * 1000, 1),
        **meter.figures(count),
    }


def _deaths(descriptors: list[int]) -> list[float]:
    """Unix seconds at which each process ended, of those that did in time."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    ended: list[float] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(ended) < len(descriptors) and time.monotonic() < deadline:
        for descriptor, _ in poll.poll(1000):
            ended.append(time.time())
            poll.unregister(descriptor)
    return ended
