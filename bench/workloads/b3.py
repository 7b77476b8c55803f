"""B3: chains of 40 no-op jobs: 3 one at a time, then 10 more to catch a lost wake-up."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

from bench.door import Door, noop
from bench.meter import Meter
from bench.stack import UnderTest
from bench.stages import stages_ms

LENGTH = 40
TIMED = 3
MORE = 10
CHAIN = noop({f"link-{n:02d}": [f"link-{n - 1:02d}"] if n else [] for n in range(LENGTH)})


def b3(subject: UnderTest, door: Door) -> dict[str, Any]:
    """ms_per_hop: median of start-to-start over the first chains; max_hop_ms over all of them."""
    hops: list[float] = []
    chains: list[str] = []
    with Meter(subject) as meter:
        for _ in range(TIMED + MORE):
            ids = door.submit([CHAIN])
            door.wait(ids)
            starts = door.started(ids)[ids[0]]
            hops += [(later - earlier) * 1000 for earlier, later in itertools.pairwise(starts)]
            chains += ids
    door.verify(chains, len(chains) * LENGTH)
    timed = hops[: TIMED * (LENGTH - 1)]
    return {
        "ms_per_hop": round(statistics.median(timed), 2),
        "max_hop_ms": round(max(hops), 1),
        "hops": len(hops),
        "stages_ms": stages_ms(door, chains),
        **meter.figures((TIMED + MORE) * LENGTH),
    }
