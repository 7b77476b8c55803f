"""B2: diamonds 1-8-1: 20 lone ones, one after another, then 200 in a burst."""

from __future__ import annotations

from typing import Any

from bench.door import Door, noop, percentile
from bench.meter import Meter
from bench.stack import UnderTest
from bench.stages import stages_ms

LONE = 20
BURST = 200
MIDDLE = [f"mid-{n}" for n in range(8)]
DIAMOND = noop({"first": [], **{name: ["first"] for name in MIDDLE}, "last": MIDDLE})
LEVELS = 3


def b2(subject: UnderTest, door: Door) -> dict[str, Any]:
    """lone_hop_ms: a lone diamond from sent to SUCCESS over its levels; pipelines_per_s of the burst."""
    hops: list[float] = []
    lone: list[str] = []
    for _ in range(LONE):
        ids = door.submit([DIAMOND])
        door.wait(ids)
        hops.append((door.finished_at(ids) - door.sent[ids[0]]) * 1000 / LEVELS)
        door.verify(ids, 10)
        lone += ids
    with Meter(subject) as meter:
        ids = door.submit([DIAMOND] * BURST)
        door.wait(ids)
    seconds = door.finished_at(ids) - door.sent[ids[0]]
    door.verify(ids, BURST * 10)
    return {
        "pipelines_per_s": round(BURST / seconds, 1),
        "lone_hop_ms": round(percentile(hops, 0.5), 2),
        "stages_ms": stages_ms(door, ids),
        "stages_ms_of_lone_ones": stages_ms(door, lone),
        **meter.figures(BURST * 10),
    }
