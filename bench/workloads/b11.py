"""B11: what a job of a large pipeline costs: 1-1000-1, a random graph of 2,000, against 200 of 10 jobs."""

from __future__ import annotations

from typing import Any

from bench.door import Door, noop, percentile
from bench.draws import random_graph
from bench.meter import Meter
from bench.stack import UnderTest
from bench.stages import stages_ms
from bench.workloads.b2 import DIAMOND

WIDE = [f"mid-{n:04d}" for n in range(1_000)]
SHAPES: dict[str, tuple[dict[str, Any], int, int]] = {
    "small": (DIAMOND, 10, 200),
    "wide": (noop({"first": [], **{name: ["first"] for name in WIDE}, "last": WIDE}), 1_002, 1),
    "random": (noop(random_graph(2_000, 3, seed=11)), 2_000, 1),
}
"""Definition, its jobs, and how many of it go at once."""
ROUNDS = 5


def b11(subject: UnderTest, door: Door) -> dict[str, Any]:
    """cpu_ms_per_job_by_shape and the ratios to `small`; `ratio` is the larger one.

    Medians of five rounds, in each all shapes in turn: a wide one is over in half a second. All other figures
    are those of the last round's small ones.
    """
    costs: dict[str, list[float]] = {shape: [] for shape in SHAPES}
    stages: dict[str, dict[str, float]] = {}
    last: dict[str, object] = {}
    for _ in range(ROUNDS):
        for shape, (definition, jobs, count) in reversed(SHAPES.items()):
            with Meter(subject) as meter:
                ids = door.submit([definition] * count)
                door.wait(ids)
            door.verify(ids, jobs * count)
            costs[shape].append(sum(meter.cpu.values()) * 1000 / (jobs * count))
            stages[shape] = stages_ms(door, ids)
            last = meter.figures(jobs * count)
    median = {shape: percentile(values, 0.5) for shape, values in costs.items()}
    ratios = {f"ratio_{shape}": round(median[shape] / median["small"], 2) for shape in ("wide", "random")}
    return {
        "ratio": max(ratios.values()),
        **ratios,
        "cpu_ms_per_job_by_shape": {shape: round(cost, 3) for shape, cost in median.items()},
        "stages_ms": stages,
        **last,
    }
