"""What each tenant has had of a pool and has of it now: slot-time, of which what is past fades."""

from __future__ import annotations

import math

HALF_LIFE_SECONDS = 300.0
_MEAN_LIFE = HALF_LIFE_SECONDS / math.log(2)
HELD_SECONDS = 4 * _MEAN_LIFE
"""What a slot counts for that is held now: nobody knows for how long it will be. Less, and who had nothing of
late would be given the whole pool until the past is made good, and keep it for as long as its jobs last.
"""


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
        self.running = max(0.0, self.running + slots) if self.attempts else 0.0

    def used(self, now: float) -> float:
        """Decayed slot-seconds."""
        elapsed = now - self._at
        if elapsed <= 0:
            return self._used
        left = math.exp(-elapsed / _MEAN_LIFE)
        return self._used * left + self.running * _MEAN_LIFE * (1 - left)

    def had(self, now: float) -> float:
        """Slot-seconds by which tenants are compared: those of the past, and what is held now."""
        return self.used(now) + self.running * HELD_SECONDS
