"""The only home of the wall clock: everything else is given a `Clock`, or `now` as an argument."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

SLEEPLESS = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's monotonic clock stands still while the machine is suspended; macOS's goes on."""


class Clock(Protocol):
    """Where a process gets its time from."""

    def now(self) -> float:
        """Unix seconds. It may jump: never subtract two of them to measure a duration."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back and go on while the machine sleeps, for durations and deadlines.

        They mean the same in all processes of a machine.
        """
        ...

    def sleep(self, seconds: float, wake: threading.Event) -> bool:
        """Wait until `wake` is set (True) or the time is over (False)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(SLEEPLESS)

    def sleep(self, seconds: float, wake: threading.Event) -> bool:
        return wake.wait(seconds)


def pause(seconds: float) -> None:
    """Wait in a program that nobody needs to wake: a command, a start-up, a test."""
    time.sleep(seconds)


def rfc3339(now: float) -> str:
    """Unix seconds as RFC 3339 UTC with microseconds, the form of every time in our records."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
