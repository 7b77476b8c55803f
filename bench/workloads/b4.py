"""B4: an open loop of single no-op jobs: 20 a second for 30 s, then 83 a second for 60 s."""

from __future__ import annotations

from typing import Any

from bench.door import Door, noop, percentile
from bench.load import open_loop, steady
from bench.meter import Meter
from bench.stack import UnderTest
from bench.stages import stages_ms

SINGLE = noop({"job": []})


def b4(subject: UnderTest, door: Door) -> dict[str, Any]:
    """Submit-to-start in milliseconds: from the client's clock at the produce to RUNNING, database clock."""
    figures: dict[str, Any] = {}
    for rate, seconds in ((20, 30), (83, 60)):
        with Meter(subject) as meter:
            ids = open_loop(door, steady(rate, seconds, SINGLE))
            door.wait(ids)
        waits = door.waits(ids)
        door.verify(ids, len(ids))
        suffix = "" if rate == 20 else f"_at_{rate}"
        figures |= {
            f"p50_ms{suffix}": round(percentile(waits, 0.5), 2),
            f"p99_ms{suffix}": round(percentile(waits, 0.99), 2),
            f"max_ms{suffix}": round(max(waits), 1),
            f"cores{suffix}": round(sum(meter.cpu.values()) / meter.wall_s, 3),
            f"stages_ms{suffix}": stages_ms(door, ids),
        }
        if rate == 20:
            figures |= meter.figures(len(ids))
    return figures
