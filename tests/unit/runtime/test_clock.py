from __future__ import annotations

import threading

from penstock.runtime.clock import SystemClock, rfc3339
from penstock.testing.clock import ManualClock


def test_rfc3339_has_microseconds_and_ends_in_z() -> None:
    assert rfc3339(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"


def test_a_system_clock_wakes_when_told() -> None:
    clock = SystemClock()
    wake = threading.Event()
    assert not clock.sleep(0.0, wake)
    wake.set()
    assert clock.sleep(3600.0, wake)
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > 1_700_000_000


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(100.0)
    assert (clock.now(), clock.monotonic()) == (100.0, 0.0)
    assert not clock.sleep(5.0, threading.Event())
    assert (clock.now(), clock.monotonic()) == (105.0, 5.0)
    clock.jump(-60.0)
    assert (clock.now(), clock.monotonic()) == (45.0, 5.0)
    awake = threading.Event()
    awake.set()
    assert clock.sleep(5.0, awake)
    assert clock.monotonic() == 5.0
