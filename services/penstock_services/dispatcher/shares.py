"""What each tenant has had of a pool: slot-time, which counts for half after each half-life."""

from __future__ import annotations

import math

HALF_LIFE_SECONDS = 300.0
_MEAN_LIFE = HALF_LIFE_SECONDS / math.log(2)


class Account:
    """Slot-seconds of one tenant in one pool; times are monotonic seconds.

    `used` is the integral of the running slots over the past, each moment weighted by 2^(-age / half-life).
    """

    __slots__ = ("_at", "_used", "attempts", "running")

    def __init__(self, now: float) -> None:
        self.attempts = 0
        """How many it has there."""
        self.running = 0.0
        """Slots that its attempts hold."""
        self._used = 0.0
        self._at = now

    def change(self, attempts: int, slots: float, now: float) -> None:
        """So many more, or fewer."""
        self.attempts += attempts
        self._used, self._at = self.used(now), max(now, self._at)
        self.running = max(0.0, self.running + slots)

    def used(self, now: float) -> float:
        """Decayed slot-seconds."""
        elapsed = now - self._at
        if elapsed <= 0:
            return self._used
        left = math.exp(-elapsed / _MEAN_LIFE)
        return self._used * left + self.running * _MEAN_LIFE * (1 - left)
