"""What the fleet of runners really did: every start and end of an attempt, whatever became of its report."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from penstock.events.jobs import Grant
from penstock.testing.simulation.world import TIMING, World

LONG_SECONDS: Final = 1.5 * TIMING.session_ttl_seconds
"""Such an attempt outlives its lease unless its runner's heartbeats renew it."""


class Plan(msgspec.Struct, frozen=True):
    """How an attempt goes if nobody stops it: after so many seconds it succeeds, fails, or breaks."""

    seconds: float
    success: bool
    breaks: bool
    """The executor itself fails: infra-error."""
    grace: float
    """Seconds from the order to stop to the end."""


class Run(msgspec.Struct):
    """One start of one attempt. `success` is None until it has ended."""

    job_id: str
    attempt: int
    runner: str
    plan: Plan
    started_at: float
    success: bool | None = None
    stopped: bool = False
    ended_at: float | None = None


class Fleet:
    """All runs of one schedule, by job and attempt."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.runs: dict[tuple[str, int], list[Run]] = {}

    def start(self, grant: Grant, runner: str) -> Run:
        """An executor starts it now."""
        run = Run(grant.job_id, grant.attempt, runner, self._plan(grant), self._world.clock.now())
        runs = self.runs.setdefault((grant.job_id, grant.attempt), [])
        runs.append(run)
        self._world.tell(runner, f"starts {grant.name} #{grant.attempt} of {grant.pipeline_name}")
        return run

    def end(self, run: Run, *, success: bool, stopped: bool) -> None:
        """It ended so."""
        run.success, run.stopped, run.ended_at = success, stopped, self._world.clock.now()
        how = "stopped" if stopped else "good" if success else "bad"
        self._world.tell(run.runner, f"ends {run.job_id[-4:]} #{run.attempt}: {how}")

    def _plan(self, grant: Grant) -> Plan:
        """The same for the same attempt of the same schedule, wherever it runs."""
        rng = random.Random(f"{self._world.seed}/{grant.pipeline_name}/{grant.name}/{grant.attempt}")
        return Plan(
            seconds=rng.choice((0.0, 0.3, 1.0, 3.0)) if rng.random() < 0.92 else LONG_SECONDS,
            success=rng.random() < 0.7,
            breaks=rng.random() < 0.04,
            grace=rng.choice((0.0, 0.0, 1.0)),
        )
