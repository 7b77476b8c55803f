"""The time that a run has: its verdict comes before it is over, whatever does not come."""

from __future__ import annotations

from collections.abc import Callable

from penstock.runtime.clock import SystemClock
from penstock.testing.chaos.arena import Arena, Overdue


class Timetable:
    """From now on so many seconds; what is waited for gets what is left of them."""

    def __init__(self, arena: Arena, seconds: float, tell: Callable[[str], None]) -> None:
        self._arena = arena
        self._clock = SystemClock()
        self._end = self._clock.monotonic() + seconds
        self._tell = tell
        self.late: list[str] = []
        """What did not come in its time."""

    def left(self, most: float, *, keep: float = 0.0) -> float:
        """So many seconds at most, of those that need not be kept for what comes afterwards."""
        return max(0.0, min(most, self._end - self._clock.monotonic() - keep))

    def wait(self, what: str, done: Callable[[], bool], most: float, *, keep: float = 0.0) -> bool:
        """Whether it came in the time that there is for it. Raises StopProcess when the arena has ended."""
        try:
            self._arena.until(done, self.left(most, keep=keep), what)
        except Overdue as overdue:
            self.late.append(str(overdue))
            self._tell(str(overdue))
            return False
        return True
