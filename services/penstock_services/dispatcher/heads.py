"""The jobs of one tenant and level during a decision."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Set
from datetime import datetime

from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.line import Line
from penstock_services.dispatcher.ready import Shape

_Head = tuple[datetime, str, Shape, ReadyJob, Line, Iterator[ReadyJob] | None]


class Heads:
    """The oldest first, without those that are `taken`, now or later: of most lines none is."""

    __slots__ = ("_heap", "_taken")

    def __init__(self, lines: Iterable[tuple[Shape, Line]], taken: Set[str]) -> None:
        self._taken = taken
        self._heap: list[_Head] = []
        for shape, line in lines:
            job = line.oldest
            self._heap.append((job.queued_at, job.job_id, shape, job, line, None))
        heapq.heapify(self._heap)

    def peek(self) -> tuple[Shape, ReadyJob] | None:
        """The oldest; None: there is none left."""
        while self._heap and self._heap[0][1] in self._taken:
            self._go_on()
        return self._heap[0][2:4] if self._heap else None

    def pass_over(self) -> None:
        """Leave out its shape."""
        heapq.heappop(self._heap)

    def _go_on(self) -> None:
        _, _, shape, _, line, rest = self._heap[0]
        if rest is None:
            rest = iter(line)
            next(rest)
        job = next(rest, None)
        if job is None:
            heapq.heappop(self._heap)
        else:
            heapq.heapreplace(self._heap, (job.queued_at, job.job_id, shape, job, line, rest))
