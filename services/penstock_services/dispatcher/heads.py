"""The jobs of one tenant and level during a decision."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Set
from datetime import datetime

from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.ready import Shape, Shapes


class Heads:
    """The oldest first, without those that are `taken` and those of shapes that found no room."""

    __slots__ = ("_heap", "_lines", "_taken")

    def __init__(self, shapes: Shapes, taken: Set[str], full: Set[Shape]) -> None:
        self._taken = taken
        self._lines: list[Iterator[ReadyJob]] = []
        self._heap: list[tuple[datetime, str, int, Shape, ReadyJob]] = []
        for shape, line in shapes.items():
            if shape not in full:
                self._lines.append(iter(line))
                self._push(len(self._lines) - 1, shape)

    def peek(self) -> tuple[Shape, ReadyJob] | None:
        """The oldest; None: there is none left."""
        return self._heap[0][3:] if self._heap else None

    def take(self) -> None:
        """Go on behind it."""
        _, _, line, shape, _ = heapq.heappop(self._heap)
        self._push(line, shape)

    def pass_over(self) -> None:
        """Leave out its shape."""
        heapq.heappop(self._heap)

    def _push(self, line: int, shape: Shape) -> None:
        job = next(self._lines[line], None)
        while job is not None and job.job_id in self._taken:
            job = next(self._lines[line], None)
        if job is not None:
            heapq.heappush(self._heap, (job.queued_at, job.job_id, line, shape, job))
