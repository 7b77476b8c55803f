"""Which job goes to which runner: pure, one pass over what is ready and who is free (design §6)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from penstock.core.lanes import LANES
from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.fleet import Fleet, Kind, Runner
from penstock_services.dispatcher.ready import Ready, Shape


class Policy(NamedTuple):
    """How far the dispatcher may go."""

    limit: int = 256
    """Most grants of one decision."""
    lookahead_jobs: int = 512
    """Most jobs a runner may hold beyond its slots."""
    lookahead_seconds: float = 0.25
    """For so long may the jobs that wait at a runner keep its slots busy."""


class Choice(NamedTuple):
    """One job for one session."""

    job: ReadyJob
    runner: Runner


def decide(ready: Ready, fleet: Fleet, policy: Policy, now: float, pools: Sequence[str]) -> list[Choice]:
    """Grants for the ready jobs of `pools`, at most `policy.limit`; `now` is monotonic seconds.

    Lanes strictly in order, within a lane the oldest job first, each to the fitting runner with most room.
    A shape that finds no room does not hold up others.
    """
    choices: list[Choice] = []
    for pool in pools:
        room = _Room(fleet, fleet.of_pool(pool, now), policy)
        for lane in LANES:
            shapes = ready.shapes(pool, lane)
            heads: list[tuple[float, str, Shape, ReadyJob]] = []
            for shape, jobs in shapes.items():
                _push(heads, shape, next(jobs, None))
            while heads and len(choices) < policy.limit:
                _, _, shape, job = heapq.heappop(heads)
                runner = room.take(shape, (job.tenant, job.pool, job.executor))
                if runner is None:
                    continue  # No room for this shape: none for its younger jobs either.
                choices.append(Choice(job, runner))
                _push(heads, shape, next(shapes[shape], None))
    return choices


def _push(heads: list[tuple[float, str, Shape, ReadyJob]], shape: Shape, job: ReadyJob | None) -> None:
    if job is not None:
        heapq.heappush(heads, (job.queued_at.timestamp(), job.job_id, shape, job))


class _Room:
    """How many more attempts each runner takes during one decision."""

    def __init__(self, fleet: Fleet, runners: list[Runner], policy: Policy) -> None:
        self._durations = fleet.durations
        self._policy = policy
        self._runners = runners
        self._held = {runner.session_id: len(runner.holds) for runner in runners}

    def take(self, shape: Shape, kind: Kind) -> Runner | None:
        """The fitting runner with most room for a job of this kind; None when there is none."""
        best: Runner | None = None
        most = 0
        for runner in self._runners:
            if runner.fits(*shape):
                free = self._limit(runner, kind) - self._held[runner.session_id]
                if free > most:
                    best, most = runner, free
        if best is not None:
            self._held[best.session_id] += 1
        return best

    def _limit(self, runner: Runner, kind: Kind) -> int:
        """Its slots, and for short jobs so many more as run off within the look-ahead.

        In-flight grants, not CPU, bound the rate of short jobs: 8 slots and a round trip of 5 ms are
        1,600 jobs a second at best (facts §12).
        """
        mean = self._durations.get(kind)
        if mean is None or mean > self._policy.lookahead_seconds:
            return runner.slots
        ahead = int(runner.slots * self._policy.lookahead_seconds / max(mean, 0.0001))
        return runner.slots + min(ahead, self._policy.lookahead_jobs)
