"""A clock that moves only when told to."""

from __future__ import annotations

import threading


class ManualClock:
    """A `Clock` for tests and simulation: sleeping advances it and takes no real time."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float, wake: threading.Event) -> bool:
        if not wake.is_set():
            self.advance(seconds)
        return wake.is_set()

    def advance(self, seconds: float) -> None:
        """Let both clocks run forward by that much."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Step the wall clock alone, as a time daemon or a person does."""
        self._now += seconds
