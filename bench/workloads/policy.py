"""The dispatcher's decisions by themselves, at the size of a large installation; no servers take part."""

from __future__ import annotations

import gc
import itertools
import random
import statistics
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from penstock.core.ids import uuid7
from penstock.core.lanes import LANES
from penstock.events.jobs import Hold, ReadyJob, Resources
from penstock.events.workers import Capacity, Heartbeat, WorkerState
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


class Variant(NamedTuple):
    """What makes decisions harder than those of a fleet that is almost empty."""

    rounds: int
    full: bool = False
    """Every slot is taken before it begins, and always again."""
    wall: float = 0.0
    """How old the oldest job is at the beginning, seconds."""
    changes: int = 0
    """So many runners each round leave, come, or tell that they drain."""


VARIANTS: Final = {
    "": Variant(ROUNDS),
    "saturated": Variant(100, full=True),
    "aged": Variant(100, full=True, wall=100_000.0),
    "changing": Variant(100, changes=3),
}


def policy(*, small: bool = False) -> dict[str, Any]:
    """Jobs come, are granted 100 at a time and end, while the queue stays as long as it is."""
    scale = 10 if small else 1
    figures: dict[str, Any] = {}
    for name, variant in VARIANTS.items():
        found = _measured(variant, scale)
        if name:
            figures[name] = {
                key: found[key] for key in ("n", "granted", "ms_per_batch", "p99_ms", "decide_ms")
            }
        else:
            figures = found
    return figures


def _measured(variant: Variant, scale: int) -> dict[str, Any]:
    draw = random.Random(7)
    spare = RUNNERS * SLOTS // scale if variant.full else 0
    made = _jobs(draw, JOBS // scale + BATCH * variant.rounds + spare)
    memory = Memory(Policy(limit=BATCH), silent_seconds=1e9)
    _hire(memory, range(RUNNERS // scale))
    first, rest = made[: JOBS // scale + spare], iter(made[JOBS // scale + spare :])
    gc.collect()
    tracemalloc.start()
    memory.ready.add(first)
    memory.scene(0.0, 0.0)
    held = tracemalloc.get_traced_memory()[0] / len(first)
    tracemalloc.stop()
    running: list[Choice] = []
    memory.policy = Policy(limit=10_000)
    while variant.full and (choices := _decided(memory, variant, 0.0, [])):
        running += choices
    memory.policy = Policy(limit=BATCH)
    gc.collect()
    gc.freeze()
    spent, decided, granted = _run(memory, rest, draw, variant, running)
    gc.unfreeze()
    return {
        "n": variant.rounds,
        "jobs": len(first) - spare,
        "runners": RUNNERS // scale,
        "granted": granted,
        "ms_per_batch": round(statistics.median(spent), 2),
        "p99_ms": round(statistics.quantiles(spent, n=100)[98], 2),
        "decide_ms": round(statistics.median(decided), 2),
        "bytes_per_ready_job": round(held),
        "ready_at_end": len(memory.ready),
    }


def _decided(memory: Memory, variant: Variant, now: float, spent: list[float]) -> list[Choice]:
    """One decision, all of which is claimed; the CPU milliseconds of `decide` go to `spent`."""
    scene = memory.scene(now, now + variant.wall)
    began = time.process_time()
    decision = decide(scene, memory.ready.pools())
    spent.append((time.process_time() - began) * 1000)
    memory.decided(decision, now)
    memory.claimed(decision.choices, {choice.job.job_id: 1 for choice in decision.choices}, now)
    return decision.choices


def _run(
    memory: Memory, rest: Iterator[ReadyJob], draw: random.Random, variant: Variant, running: list[Choice]
) -> tuple[list[float], list[float], int]:
    """CPU milliseconds of each round (what came and went taken in, the decision, claims noted) and of its
    decision alone; how many were granted.
    """
    spent: list[float] = []
    decided: list[float] = []
    granted = 0
    hired = itertools.count(RUNNERS)
    for turn in itertools.count(1):
        now = float(turn) / 10
        ends = [running.pop(draw.randrange(len(running))) for _ in range(min(BATCH, len(running)))]
        came = list(itertools.islice(rest, BATCH))
        if len(came) < BATCH:
            return spent, decided, granted
        began = time.process_time()
        memory.ready.add(came)
        for _ in range(variant.changes):
            _hire(memory, [next(hired)], now)
            leaving = draw.choice(list(memory.fleet.pool("default").runners.values()))
            memory.fleet.heartbeat(_beat(leaving.session_id, leaving.name, leaving.n + 1, "DRAINING"), now)
        for end in ends:
            end.runner.drop((end.job.job_id, 1), now)
            for hold in end.job.holds:
                memory.ready.locks.free((end.job.tenant, hold.kind, hold.name), end.job.job_id)
        choices = _decided(memory, variant, now, decided)
        spent.append((time.process_time() - began) * 1000)
        granted += len(choices)
        running += choices
    raise AssertionError


def _hire(memory: Memory, numbers: Iterable[int], now: float = 0.0) -> None:
    for n in numbers:
        memory.fleet.heartbeat(_beat(uuid7(n), f"runner-{n}", 1, "IDLE", gpu=n % 50 == 0), now)


def _beat(session: str, name: str, n: int, state: WorkerState, *, gpu: bool = False) -> Heartbeat:
    return Heartbeat(
        session_id=session, n=n, name=name, pool="default", slots=SLOTS, executors=["process"], state=state,
        labels=["linux", *(["gpu"] if gpu else [])],
        capacity=Capacity(cpu=16, memory=64 * GIB, arch="x86_64"),
    )  # fmt: skip


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
