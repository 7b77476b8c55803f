"""How soon all goes on after a runner, or one of two replicas of a service, is killed."""

from __future__ import annotations

import time
from typing import Any

from bench.door import noop, percentile
from bench.field import Field
from penstock.local.services import SERVICES

RUNNERS = 4
SLOTS = 8
KILLS, FEW_KILLS = 12, 3
RATE = 20
"""Jobs a second while a replica is killed."""
BEFORE_SECONDS, AFTER_SECONDS = 3.0, 12.0
SINGLE = noop({"job": []})


def dead_runner(field: Field, *, small: bool) -> dict[str, Any]:
    """p99_ms from the kill of a runner to QUEUED of each of its jobs; bar_ms: TTL + 1 s + scan.

    `false_reclaims` are attempts taken from runners that lived. After a gap of more than 2 s in its loop, as
    a machine that is too busy makes them, the reaper judges nobody for a TTL: such a kill takes a TTL longer.
    """
    slots = RUNNERS * SLOTS
    field.submit({f"job-{n}": {"run": "exec sleep 3600"} for n in range(slots)}, 2)
    waits: list[float] = []
    slowest: list[int] = []
    false = 0
    for number in range(FEW_KILLS if small else KILLS):
        label = f"runner-{number % RUNNERS}"
        field.until(field.arena.all_ready, "all components are ready")
        field.until(lambda: _running(field) == slots, "every slot is taken", 60 + field.ttl)
        time.sleep(field.heartbeat)  # all of them are in a heartbeat by now
        mine = _held_by(field, label)
        killed = time.time()
        field.arena.kill(label)
        field.until(lambda: mine.keys() <= _lost(field, killed).keys(), "its jobs are QUEUED again")  # noqa: B023
        lost = _lost(field, killed)
        waits += [(lost[job] - killed) * 1000 for job in mine]
        slowest.append(round(max(lost[job] - killed for job in mine) * 1000))
        false += len(lost.keys() - mine.keys())
    return {
        "p50_ms": round(percentile(waits, 0.5)),
        "p99_ms": round(percentile(waits, 0.99)),
        "max_ms": round(max(waits)),
        "max_ms_by_kill": slowest,
        "bar_ms": round((field.ttl + 1 + field.scan) * 1000),
        "false_reclaims": false,
        "kills": FEW_KILLS if small else KILLS,
        "n": len(waits),
    }


def dead_service(field: Field, *, small: bool) -> dict[str, Any]:
    """longest_wait_ms from a request to its job's SUCCESS, over jobs that come all the time, by service.

    Of every service one of two replicas is killed; a runner's jobs wait for its lease, and are not counted.
    """
    longest: dict[str, float] = {}
    median: dict[str, float] = {}
    for name in SERVICES:
        if name == "runner" or (small and name not in ("advancer", "dispatcher")):
            continue
        field.until(field.arena.all_ready, "all components are ready")
        ids: list[str] = []
        begin = time.monotonic()
        killed = False
        for n in range(int(RATE * (BEFORE_SECONDS + AFTER_SECONDS))):
            time.sleep(max(0.0, begin + n / RATE - time.monotonic()))
            if not killed and n >= RATE * BEFORE_SECONDS:
                killed = bool(field.arena.kill(f"{name}-0"))
            ids += field.door.submit([SINGLE])
        field.until(lambda: field.count(ids, "SUCCESS") == len(ids), "all jobs end")  # noqa: B023
        waits = _waits(field, ids)
        longest[name] = round(max(waits))
        median[name] = round(percentile(waits, 0.5))
    return {
        "longest_wait_ms": max(longest.values()),
        "longest_wait_ms_by_service": longest,
        "p50_ms_by_service": median,
        "bar_ms": 7000,
        "n": int(RATE * (BEFORE_SECONDS + AFTER_SECONDS)) * len(longest),
    }


def _waits(field: Field, ids: list[str]) -> list[float]:
    """Milliseconds from the request of each single job to its end."""
    rows = field.db.rows(
        "SELECT pipeline_id::text, extract(epoch FROM at)::float8 FROM job_transitions"
        " WHERE pipeline_id = ANY(%s::uuid[]) AND state = 'SUCCESS'",
        (ids,),
    )
    return [(at - field.door.sent[pipeline]) * 1000 for pipeline, at in rows]


def _running(field: Field) -> int:
    return int(field.db.one("SELECT count(*) FROM leases WHERE started"))


def _held_by(field: Field, label: str) -> dict[str, float]:
    """Job -> end of its lease, of all that the runner with this state folder holds."""
    rows = field.db.rows(
        "SELECT l.job_id::text, extract(epoch FROM l.expires_at)::float8 FROM leases AS l"
        " JOIN workers AS w ON w.session_id = l.session_id WHERE w.name LIKE %s AND l.started",
        (f"%/{label}",),
    )
    return {row[0]: row[1] for row in rows}


def _lost(field: Field, since: float) -> dict[str, float]:
    """Job -> when it was taken back, of all since then."""
    rows = field.db.rows(
        "SELECT job_id::text, extract(epoch FROM min(at))::float8 FROM job_transitions"
        " WHERE reason = 'worker-lost' AND at > to_timestamp(%s) GROUP BY job_id",
        (since,),
    )
    return {row[0]: row[1] for row in rows}
