"""How much more each runner of a pool takes during one decision. Changes nothing that lasts."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace

from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.ready import Shape
from penstock_services.dispatcher.runners import Fit, Pool, Rank, Runner

EMPTIED_AT_ONCE = 4
"""Of so many runners of a pool at most one, and always one, is emptied for large jobs."""


class Room:
    """The free slots of a pool, less what was given out since the decision began."""

    def __init__(
        self, pool: Pool, *, closed: frozenset[str], now: float, silent_seconds: float, most_ahead: int
    ) -> None:
        self._pool = pool
        self._closed = closed
        """Names of runners that take nothing by order."""
        self._silent_before = now - silent_seconds
        self._most_ahead = most_ahead
        self._heaps: dict[int, list[Rank]] = {}
        self._given: dict[int, tuple[int, float, int]] = {}
        """By runner: attempts, cores and memory that this decision adds."""
        self._kept = pool.kept(now)
        self._emptying = {runner.number for runner in self._kept.values()}

    def is_kept(self, job: ReadyJob) -> bool:
        """Whether a runner is being emptied for the job."""
        return job.job_id in self._kept

    def take(self, job: ReadyJob, shape: Shape, ahead: float) -> Runner | None:
        """The runner with most room for the job, which takes it; None when there is none.

        `ahead`: so many times its slots, beyond them, may a runner hold.
        """
        kept = self._kept.get(job.job_id)
        if kept is not None and self._is_open(kept) and self._has_room(kept, shape, 0.0):
            return self._give(kept, shape)
        fit = self._pool.fit(shape)
        heap = self._heap(fit)
        passed: list[Rank] = []
        found: Runner | None = None
        while heap:
            runner = fit.members[heap[0][1]]
            rank = self._rank(runner)
            if heap[0] < rank:
                heapreplace(heap, rank)  # Given something since.
            elif heap[0] > rank:
                heappop(heap)  # Of some time ago: a true entry is there, too.
            elif not self._is_open(runner) or runner.number in self._emptying:
                heappop(heap)
            elif not self._has_slot(runner, ahead):
                break  # None has more room than this one.
            elif shape.sized and not self._has_room(runner, shape, ahead):
                passed.append(heappop(heap))
            else:
                found = self._give(runner, shape)
                heapreplace(heap, self._rank(runner))
                break
        for rank in passed:
            heappush(heap, rank)
        return found

    def empty_for(self, job: ReadyJob, shape: Shape) -> Runner | None:
        """The runner to be emptied for a job that found no room for long; None when enough are already."""
        kept = self._kept.get(job.job_id)
        if kept is not None and self._is_open(kept):
            return kept
        if len(self._kept) >= max(1, len(self._pool.runners) // EMPTIED_AT_ONCE):
            return None
        able = [
            runner
            for runner in self._pool.fit(shape).members.values()
            if self._is_open(runner) and runner.number not in self._emptying and runner.is_large_enough(shape)
        ]
        if not able:
            return None
        best = min(able, key=lambda runner: (runner.used_memory, runner.used_cpu, len(runner.holds), runner.number))
        self._kept[job.job_id] = best
        self._emptying.add(best.number)
        return best

    def _heap(self, fit: Fit) -> list[Rank]:
        heap = self._heaps.get(id(fit))
        if heap is None:
            heap = self._heaps[id(fit)] = fit.heap.copy()
        return heap

    def _rank(self, runner: Runner) -> Rank:
        given = self._given.get(runner.number)
        held, number = runner.rank
        return (held + given[0], number) if given else (held, number)

    def _is_open(self, runner: Runner) -> bool:
        return (
            runner.heard_at >= self._silent_before and runner.takes_jobs() and runner.name not in self._closed
        )

    def _has_slot(self, runner: Runner, ahead: float) -> bool:
        return self._rank(runner)[0] < min(int(runner.slots * ahead), self._most_ahead)

    def _has_room(self, runner: Runner, shape: Shape, ahead: float) -> bool:
        _, cpu, memory = self._given.get(runner.number, (0, 0.0, 0))
        return (
            self._has_slot(runner, ahead)
            and runner.used_cpu + cpu + shape.cpu <= runner.cpu
            and runner.used_memory + memory + shape.memory <= runner.memory
        )

    def _give(self, runner: Runner, shape: Shape) -> Runner:
        held, cpu, memory = self._given.get(runner.number, (0, 0.0, 0))
        self._given[runner.number] = held + 1, cpu + shape.cpu, memory + shape.memory
        return runner
