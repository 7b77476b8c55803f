"""What the workloads draw by lot, each from a seed, so that every run has the same."""

from __future__ import annotations

import random
from typing import NamedTuple


class Task(NamedTuple):
    """One task of P1: the names that it takes, all of them exclusively."""

    locks: tuple[str, ...]


def poisson(per_second: float, seconds: float, seed: int) -> list[float]:
    """Moments of a Poisson process, in seconds since its beginning: gaps are exponential."""
    draw = random.Random(seed)
    moments: list[float] = []
    at = draw.expovariate(per_second)
    while at < seconds:
        moments.append(at)
        at += draw.expovariate(per_second)
    return moments


def random_graph(jobs: int, fan_in: int, seed: int) -> dict[str, list[str]]:
    """Job -> needs: each needs `fan_in` of all those before it, the first ones as many as there are."""
    draw = random.Random(seed)
    names = [f"job-{n:04d}" for n in range(jobs)]
    return {name: draw.sample(names[:n], min(fan_in, n)) for n, name in enumerate(names)}


def lock_tasks(count: int, resources: int, each: int, seed: int) -> list[Task]:
    """Tasks that take `each` different ones of so many resources."""
    draw = random.Random(seed)
    return [
        Task(tuple(f"r-{number:03d}" for number in sorted(draw.sample(range(resources), each))))
        for _ in range(count)
    ]
