"""How much more each runner of a pool takes during one decision. Changes nothing that lasts."""

from __future__ import annotations

from heapq import heappop, heappush

from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.ready import Shape
from penstock_services.dispatcher.runners import Fit, Pool, Runner

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
        self._lines: dict[tuple[int, float, int], _Line] = {}
        self._failed: dict[int, list[tuple[float, int]]] = {}
        """By fit: sizes that found no room; none that asks for at least as much finds any."""
        self._given: dict[int, tuple[int, float, int]] = {}
        """By runner: attempts, cores and memory that this decision adds."""
        self.kept = {job_id: runner for job_id, runner in pool.kept(now).items() if self.is_open(runner)}
        """Runners that are being emptied, by the job for which they are; they take no other."""
        self.emptying = {runner.number for runner in self.kept.values()}

    def is_full(self, ahead: float) -> bool:
        """Whether none but those that are emptied has a slot left, nor one `ahead` times its slots beyond."""
        runner = self._line(self._pool.everyone(), 0, 0).first()
        return runner is None or not self._has_slot(runner, ahead)

    def take(self, shape: Shape, ahead: float) -> Runner | None:
        """The runner with most room for a job of the shape, which takes it; None when there is none.

        `ahead`: so many times its slots, beyond them, may a runner hold.
        """
        line, runner = self._find(shape, ahead)
        if runner is not None:
            line.pop()
            self._give(runner, shape)
            line.put_back(runner)
        return runner

    def has_room(self, shape: Shape, ahead: float) -> bool:
        """Whether a job of the shape would be taken."""
        return self._find(shape, ahead)[1] is not None

    def take_kept(self, job_id: str, shape: Shape) -> Runner | None:
        """The runner that is emptied for the job, which takes it; None while it has no room yet."""
        runner = self.kept[job_id]
        if not (self._has_slot(runner, 0.0) and self._fits(runner, shape)):
            return None
        self._give(runner, shape)
        return runner

    def empty_for(self, job: ReadyJob, shape: Shape) -> Runner | None:
        """The runner to be emptied for a job that found no room for long: of those that can, the one nearest
        to it; None when there is none, or enough are already.
        """
        usable = [runner for runner in self._pool.everyone().members.values() if self.is_open(runner)]
        if len(self.kept) >= max(1, len(usable) // EMPTIED_AT_ONCE):
            return None
        fit = self._pool.fit(shape).members
        able = [
            runner
            for runner in usable
            if runner.number in fit and runner.number not in self.emptying and runner.is_large_enough(shape)
        ]
        if not able:
            return None
        best = min(
            able, key=lambda runner: (runner.used_memory, runner.used_cpu, len(runner.holds), runner.number)
        )
        self.kept[job.job_id] = best
        self.emptying.add(best.number)
        return best

    def rank(self, runner: Runner) -> int:
        """Its rank, with what this decision gave it."""
        given = self._given.get(runner.number)
        return runner.rank + given[0] if given else runner.rank

    def is_untouched(self, runner: Runner) -> bool:
        """Whether this decision gave it nothing."""
        return runner.number not in self._given

    def is_open(self, runner: Runner) -> bool:
        """Whether it is there and takes jobs."""
        return (
            runner.heard_at >= self._silent_before and runner.takes_jobs() and runner.name not in self._closed
        )

    def _line(self, fit: Fit, cpu: float, memory: int) -> _Line:
        line = self._lines.get((id(fit), cpu, memory))
        if line is None:
            line = self._lines[id(fit), cpu, memory] = _Line(self, fit, cpu, memory)
        return line

    def _find(self, shape: Shape, ahead: float) -> tuple[_Line, Runner | None]:
        fit = self._pool.fit(shape)
        line = self._line(fit, shape.cpu, shape.memory)
        failed = self._failed.setdefault(id(fit), [])
        if any(cpu <= shape.cpu and memory <= shape.memory for cpu, memory in failed):
            return line, None
        runner = self._first(line, shape, ahead)
        if runner is None and shape.sized:
            failed.append((shape.cpu, shape.memory))
        return line, runner

    def _first(self, line: _Line, shape: Shape, ahead: float) -> Runner | None:
        """The first that takes a job of the shape; who has too little left has no more until the end."""
        while (runner := line.first()) is not None and self._has_slot(runner, ahead):
            if not shape.sized or self._fits(runner, shape):
                return runner
            line.pop()
        return None

    def _has_slot(self, runner: Runner, ahead: float) -> bool:
        return self.rank(runner) < min(int(runner.slots * ahead), self._most_ahead)

    def _fits(self, runner: Runner, shape: Shape) -> bool:
        _, cpu, memory = self._given.get(runner.number, (0, 0.0, 0))
        left = runner.left
        return round(left[0] - cpu, 3) >= shape.cpu and left[1] - memory >= shape.memory

    def _give(self, runner: Runner, shape: Shape) -> None:
        held, cpu, memory = self._given.get(runner.number, (0, 0.0, 0))
        self._given[runner.number] = held + 1, cpu + shape.cpu, memory + shape.memory


class _Line:
    """The runners of a fit that have so much left, during one decision, those with most room first.

    Whoever was given something, or put back, waits in a heap, so that what the pool keeps is only read.
    """

    __slots__ = ("_again", "_members", "_next", "_room", "_untouched")

    def __init__(self, room: Room, fit: Fit, cpu: float, memory: int) -> None:
        self._room = room
        self._members = fit.members
        self._untouched = fit.emptiest_first(cpu, memory)
        self._next: Runner | None = None
        self._again: list[tuple[int, int]] = []
        self._go_on()

    def first(self) -> Runner | None:
        """The one with most room; None: there is none left."""
        while self._next is not None and not self._room.is_untouched(self._next):
            self.put_back(self._next)  # By way of another line.
            self._go_on()
        again = self._of_those_again()
        if self._next is None or (again is not None and self._room.rank(again) < self._next.rank):
            return again
        return self._next

    def pop(self) -> None:
        """Take the first out."""
        if self.first() is self._next:
            self._go_on()
        else:
            heappop(self._again)

    def put_back(self, runner: Runner) -> None:
        """It may be looked at again."""
        heappush(self._again, (self._room.rank(runner), runner.number))

    def _of_those_again(self) -> Runner | None:
        while self._again:
            rank, number = self._again[0]
            runner = self._members[number]
            if number in self._room.emptying:
                heappop(self._again)
            elif self._room.rank(runner) != rank:
                heappop(self._again)
                self.put_back(runner)
            else:
                return runner
        return None

    def _go_on(self) -> None:
        room = self._room
        for runner in self._untouched:
            if room.is_open(runner) and runner.number not in room.emptying:
                self._next = runner
                return
        self._next = None
