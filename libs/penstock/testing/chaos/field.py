"""What a fault is given: the arena, the workload, chance and time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

from penstock.runtime.clock import SystemClock
from penstock.testing.chaos.arena import Arena
from penstock.testing.chaos.proxy import Proxies
from penstock.testing.chaos.workload import Workload

T = TypeVar("T")
Act = Callable[[], int]
"""Does it, heals it, and returns how often it bit. May raise PenstockError: then it did not."""
Drawn = tuple[str, Act]
"""A target in words, and what is done to it."""


class Field:
    """One per run; faults are drawn in one thread and act in others."""

    def __init__(self, arena: Arena, workload: Workload, rng: random.Random) -> None:
        self.arena = arena
        self.workload = workload
        self.rng = rng
        self._clock = SystemClock()

    @property
    def proxies(self) -> Proxies:
        """Of an arena that has them."""
        assert self.arena.proxies is not None
        return self.arena.proxies

    def replica(self, *names: str) -> str:
        """The label of some replica of one of these services, of any by default."""
        return self.rng.choice(self.arena.labels(*names))

    def seconds(self, least: float, most: float) -> float:
        """A length of time."""
        return self.rng.uniform(least, most)

    def wait(self, seconds: float) -> None:
        """Let it last."""
        self._clock.sleep(seconds, threading.Event())

    def within(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Whether it came true in this time."""
        deadline = self._clock.monotonic() + seconds
        while not done():
            if self._clock.monotonic() >= deadline:
                return False
            self.wait(0.05)
        return True
