"""When the dispatcher reads its queue again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from penstock.core.errors import RetryLater


class Sweeps:
    """Every so many seconds from the end of one to the beginning of the next; times are monotonic."""

    def __init__(self, sweep: Callable[[], Iterator[None]], seconds: float) -> None:
        self._sweep = sweep
        self._seconds = seconds
        self._steps: Iterator[None] | None = None
        self._due = -math.inf
        self._whole = False

    @property
    def under_way(self) -> bool:
        """Whether there is a step to be taken at once."""
        return self._steps is not None

    def turn(self, now: float, *, whole: bool) -> None:
        """Take the next step of a sweep, if it is time for one; or make a `whole` one now.

        Raises:
            RetryLater: as the step does. The sweep begins anew with the next turn.
        """
        if whole:
            self._steps, self._whole = None, True
        if self._steps is None:
            if not self._whole and now < self._due:
                return
            self._steps = self._sweep()
        try:
            for _ in self._steps:
                if not self._whole:
                    return
        except RetryLater:
            self._steps, self._due = None, now
            raise
        self._steps, self._whole = None, False
        self._due = now + self._seconds
