"""B8: a burst of diamonds with `kill -9` of one component at 30 % progress, each component in turn."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import Any

from bench.field import Field, patient
from bench.workloads.b2 import DIAMOND

VICTIMS = (
    "intake-0", "advancer-0", "dispatcher-0", "reaper-0", "canceller-0", "logs-0", "gateway-0", "runner-0",
    "kafka-0", "postgres-0",
)  # fmt: skip
DIAMONDS = 1_000
"""Five times the burst of B2, so that there is a rate to come back to."""
FEW = 100
ROUNDS = 2
JOBS_EACH = 10
PROGRESS = 0.3
STALL_SECONDS = 0.2
"""A shorter pause is none."""
SHARE = 0.8
Row = tuple[str, int, str, int, str | None, float]


def b8(field: Field, *, small: bool) -> dict[str, Any]:
    """lost_jobs, second_successes and re_executions over all kills; seconds_to_80_percent: the longest.

    The former rate is that of the SUCCESSes between a tenth and the kill. It is reached again when, after the
    longest pause that followed the kill, a tenth of all jobs ends at 80 % of it.
    """
    total: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {}
    for _ in range(1 if small else ROUNDS):
        for victim in VICTIMS:
            field.until(field.arena.all_ready, "all components are ready")
            ids, killed = _kill_in_burst(field, victim, FEW if small else DIAMONDS)
            rows = field.transitions(ids)
            found = judged(rows, len(ids) * JOBS_EACH)
            total.update(found)
            seconds.setdefault(victim, []).append(round(seconds_to_former_rate(rows, killed), 2))
    return {
        "lost_jobs": total["lost"],
        "second_successes": total["second"],
        "re_executions": total["again"],
        "seconds_to_80_percent": max(max(one) for one in seconds.values()),
        "seconds_by_victim": seconds,
        "n": sum(len(one) for one in seconds.values()),
    }


def judged(rows: list[Row], jobs: int) -> dict[str, int]:
    """Jobs that did not succeed, that succeeded twice, and starts beyond the first."""
    successes = Counter(row[0] for row in rows if row[2] == "SUCCESS")
    starts = {(row[0], row[3]) for row in rows if row[2] == "RUNNING"}
    return {
        "lost": jobs - len(successes),
        "second": sum(count - 1 for count in successes.values()),
        "again": len(starts) - len({job for job, _ in starts}),
    }


def seconds_to_former_rate(rows: list[Row], killed: float) -> float:
    """From the kill, Unix seconds; when it is not reached before the end, until the end."""
    times = sorted(row[5] for row in rows if row[2] == "SUCCESS")
    tenth = len(times) // 10
    before = [at for at in times[tenth:] if at < killed]
    after = [killed, *(at for at in times if at >= killed)]
    former = len(before) / max(killed - times[tenth], 0.001)
    pauses = [(later - earlier, n + 1) for n, (earlier, later) in enumerate(itertools.pairwise(after))]
    longest, begin = max(pauses, default=(0.0, 0))
    for n in range(begin if longest > STALL_SECONDS else 0, len(after) - tenth):
        if tenth / max(after[n + tenth] - after[n], 0.001) >= SHARE * former:
            return after[n] - killed
    return after[-1] - killed


def _kill_in_burst(field: Field, victim: str, diamonds: int) -> tuple[list[str], float]:
    """The pipelines, all at their end, and when the victim was killed."""
    jobs = diamonds * JOBS_EACH
    ids = field.door.submit([DIAMOND] * diamonds)
    field.until(lambda: field.count(ids, "SUCCESS") >= PROGRESS * jobs, "the burst gets on")
    killed = time.time()
    field.arena.kill(victim)
    field.until(lambda: field.count(ids, "SUCCESS") == jobs, f"all jobs end after the kill of {victim}")
    patient(lambda: field.door.wait(ids))
    return ids, killed
