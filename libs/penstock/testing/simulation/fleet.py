"""What the fleet of runners really did: every start and end of an attempt, whatever became of its report."""

from __future__ import annotations

import math
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
    exclusive: bool = False
    success: bool | None = None
    stopped: bool = False
    ended_at: float | None = None
    dead_by: float = math.inf
    """Unix seconds: by then the guard of an exclusive attempt has killed it, whatever its runner does."""


class Fleet:
    """All runs of one schedule, by job and attempt."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.runs: dict[tuple[str, int], list[Run]] = {}

    def start(self, grant: Grant, runner: str) -> Run:
        """An executor starts it now."""
        now = self._world.clock.now()
        run = Run(grant.job_id, grant.attempt, runner, self._plan(grant), now, _is_exclusive(grant))
        runs = self.runs.setdefault((grant.job_id, grant.attempt), [])
        runs.append(run)
        self._world.tell(runner, f"starts {grant.name} #{grant.attempt} of {grant.pipeline_name}")
        return run

    def end(self, run: Run, *, success: bool, stopped: bool) -> None:
        """Its runner sees that it ended so. When that was does not depend on when it looks."""
        run.success, run.stopped = success, stopped
        run.ended_at = min(self._world.clock.now(), run.dead_by)
        if not stopped:
            run.ended_at = min(run.ended_at, run.started_at + run.plan.seconds)
        how = "stopped" if stopped else "good" if success else "bad"
        self._world.tell(run.runner, f"ends {run.job_id[-4:]} #{run.attempt}: {how}")

    def killed(self, run: Run) -> None:
        """Its runner died, so its guard killed it. Nobody tells of it."""
        run.ended_at = min(self._world.clock.now(), run.dead_by)

    def runs_exclusive(self, runner: str) -> bool:
        """Whether an exclusive attempt is alive there."""
        return any(
            run.exclusive and run.runner == runner and run.ended_at is None
            for runs in self.runs.values()
            for run in runs
        )

    def _plan(self, grant: Grant) -> Plan:
        """The same for the same attempt of the same schedule, wherever it runs."""
        short, long = 0.92, LONG_SECONDS
        if _is_exclusive(grant):
            short, long = 0.5, 1.5 * self._world.lease_seconds
        rng = random.Random(f"{self._world.seed}/{grant.pipeline_name}/{grant.name}/{grant.attempt}")
        return Plan(
            seconds=rng.choice((0.0, 0.3, 1.0, 3.0)) if rng.random() < short else long,
            success=rng.random() < 0.7,
            breaks=rng.random() < 0.04,
            grace=rng.choice((0.0, 0.0, 1.0)),
        )


def _is_exclusive(grant: Grant) -> bool:
    """Whether it has leases of its own: an exclusive job, or one with locks."""
    return bool(grant.spec.get("exclusive")) or grant.lease is not None
