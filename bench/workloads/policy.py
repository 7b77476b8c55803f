"""The dispatcher's decisions by themselves, at the size of a large installation; no servers take part."""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from penstock.core.ids import uuid7
from penstock.core.lanes import LANES
from penstock.events.jobs import Hold, ReadyJob, Resources
from penstock.events.workers import Capacity, Heartbeat
from penstock_services.dispatcher.decide import Choice, Policy, decide
from penstock_services.dispatcher.memory import Memory

JOBS: Final = 100_000
RUNNERS: Final = 5_000
TENANTS: Final = 1_000
LOCKS: Final = 10_000
"""Names of locks that a tenth of the jobs asks for, two each."""
BATCH: Final = 100
ROUNDS: Final = 300
SLOTS: Final = 8
GIB: Final = 1024**3


def policy(*, small: bool = False) -> dict[str, Any]:
    """Jobs come, are granted 100 at a time and end, while the queue stays as long as it is."""
    scale = 10 if small else 1
    draw = random.Random(7)
    made = _jobs(draw, JOBS // scale + BATCH * ROUNDS)
    memory = Memory(Policy(limit=BATCH), silent_seconds=1e9)
    _hire(memory, RUNNERS // scale)
    first, rest = made[: JOBS // scale], iter(made[JOBS // scale :])
    gc.collect()
    tracemalloc.start()
    memory.ready.add(first)
    memory.scene(0.0, 0.0)
    held = tracemalloc.get_traced_memory()[0] / len(first)
    tracemalloc.stop()
    gc.collect()
    gc.freeze()
    spent, granted = _run(memory, rest, draw)
    return {
        "n": ROUNDS,
        "jobs": len(first),
        "runners": RUNNERS // scale,
        "granted": granted,
        "ms_per_batch": round(statistics.median(spent), 2),
        "p99_ms": round(statistics.quantiles(spent, n=100)[98], 2),
        "bytes_per_ready_job": round(held),
        "ready_at_end": len(memory.ready),
    }


def _run(memory: Memory, rest: Any, draw: random.Random) -> tuple[list[float], int]:
    """CPU milliseconds of each round: what came and went taken in, the decision, what was claimed noted."""
    running: list[Choice] = []
    spent: list[float] = []
    granted = 0
    for turn in itertools.count(1):
        now = float(turn) / 10
        ends = [running.pop(draw.randrange(len(running))) for _ in range(min(BATCH, len(running)))]
        came = list(itertools.islice(rest, BATCH))
        if len(came) < BATCH:
            return spent, granted
        began = time.process_time()
        memory.ready.add(came)
        for end in ends:
            end.runner.drop((end.job.job_id, 1), now)
            for hold in end.job.holds:
                memory.ready.locks.free((end.job.tenant, hold.kind, hold.name), end.job.job_id)
        decision = decide(memory.scene(now, now), memory.ready.pools())
        memory.decided(decision, now)
        memory.claimed(decision.choices, {choice.job.job_id: 1 for choice in decision.choices}, now)
        spent.append((time.process_time() - began) * 1000)
        granted += len(decision.choices)
        running += decision.choices
    raise AssertionError


def _hire(memory: Memory, count: int) -> None:
    for n in range(count):
        beat = Heartbeat(
            session_id=uuid7(n), n=1, name=f"runner-{n}", pool="default", slots=SLOTS, executors=["process"],
            labels=["linux", *(["gpu"] if n % 50 == 0 else [])],
            capacity=Capacity(cpu=16, memory=64 * GIB, arch="x86_64"),
        )  # fmt: skip
        memory.fleet.heartbeat(beat, 0.0)


def _jobs(draw: random.Random, count: int) -> list[ReadyJob]:
    begin = datetime.fromtimestamp(0, UTC)
    tenants = [f"tenant-{n:04d}" for n in range(TENANTS)]
    locks = [f"lock-{n:05d}" for n in range(LOCKS)]
    labels = [["linux"], ["linux"], ["linux"], ["gpu", "linux"]]
    sizes = [None, None, None, Resources(2, 4 * GIB), Resources(4, 8 * GIB), Resources(8, 32 * GIB)]
    return [
        ReadyJob(
            job_id=uuid7(n), pipeline_id=uuid7(n), tenant=draw.choice(tenants), pool="default",
            lane=draw.choices(LANES, (1, 9, 90))[0], executor="process", labels=draw.choice(labels),
            queued_at=begin + timedelta(milliseconds=n), resources=draw.choice(sizes),
            holds=tuple(Hold("lock", name, draw.choice([1, None])) for name in draw.sample(locks, 2))
            if draw.random() < 0.1 else (),
        )
        for n in range(count)
    ]  # fmt: skip
