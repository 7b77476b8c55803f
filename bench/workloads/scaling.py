"""scaling: the burst of B1 with more partitions, replicas and runners: none of them may cost anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.door import warm_up
from bench.field import Field, field
from bench.stubs import Stubs, warm
from bench.workloads.b1 import JOBS, b1
from penstock.local.services import SERVICES

PARTITIONS, FEW_PARTITIONS = (1, 4, 16), (1, 4)
RUNNERS, FEW_RUNNERS = (10, 100, 1_000), (10, 100)
REPLICAS = (1, 2)
SLOTS = 8
ROUNDS, FEW_ROUNDS = 5, 1
ONE_RUNNER = {"PENSTOCK_SLOTS": str(SLOTS)}


def scaling(*, small: bool) -> dict[str, Any]:
    """jobs_per_s and cpu_ms_per_job by partitions, replicas of each service, and stub runners with 8 slots.

    One thing differs at a time: otherwise there are 8 partitions, one replica and, but with stubs, the one
    runner of B1. Medians of five rounds, on a stack for each line; the stubs share one, and the same process
    as the client, which is the bound when they are many.
    """
    rounds = FEW_ROUNDS if small else ROUNDS
    figures: dict[str, dict[str, Any]] = {"partitions": {}, "replicas": {}, "runners": {}}
    for partitions in FEW_PARTITIONS if small else PARTITIONS:
        environ = {**ONE_RUNNER, "PENSTOCK_KAFKA_PARTITIONS": str(partitions)}
        figures["partitions"][str(partitions)] = _with_runner({}, environ, rounds)
    for replicas in REPLICAS:
        each = {name: replicas for name in SERVICES if name != "runner"}
        figures["replicas"][str(replicas)] = _with_runner(each, ONE_RUNNER, rounds)
    with field({"runner": 0}) as own:
        durability = own.subject.durability()
        warm(own)
        for runners in FEW_RUNNERS if small else RUNNERS:
            with Stubs(own, runners, SLOTS, default=0.0) as fleet:
                fleet.settle()
                figures["runners"][str(runners)] = _rounds(own, rounds)
    return {**figures, "rounds": rounds, "n": JOBS, "durability": durability}


def _with_runner(replicas: Mapping[str, int], environ: Mapping[str, str], rounds: int) -> dict[str, Any]:
    with field(replicas, environ) as own:
        own.subject.durability()
        warm_up(own.door)
        return _rounds(own, rounds)


def _rounds(own: Field, rounds: int) -> dict[str, Any]:
    """The run of the median rate; the most that others used in any of them."""
    runs = sorted((b1(own.subject, own.door) for _ in range(rounds)), key=lambda run: run["jobs_per_s"])
    median = runs[len(runs) // 2]
    kept = ("jobs_per_s", "cpu_ms_per_job", "cpu_by_process", "commits_per_job")
    return {
        **{name: median[name] for name in kept},
        "foreign_cores": max(run["foreign_cores"] for run in runs),
    }
