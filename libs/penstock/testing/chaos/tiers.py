"""How much is done to a stack: in every test run, and in `make verify`."""

from __future__ import annotations

import random
from typing import Final

from penstock.testing.chaos.bars import Bars
from penstock.testing.chaos.hooks import POINTS
from penstock.testing.chaos.nemesis import FAULTS, draw_kinds
from penstock.testing.chaos.run import Plan
from penstock.testing.turns import due

POINT_KINDS: Final = [f"F1 {name}" for name in POINTS]
OTHERS: Final = [kind for kind in FAULTS if kind not in POINT_KINDS]
WIPED: Final = "F4 kafka wiped"


def commit(turn: int) -> Plan:
    """Of a test run: a third of the points by turns, and a dozen other faults."""
    rng = random.Random(turn)
    kinds = [*due(POINT_KINDS, turn, 8), *draw_kinds(rng, 12, OTHERS)]
    rng.shuffle(kinds)
    return Plan(turn, 300, kinds, Bars(faults=10, kinds=6), seconds=1080)


def deep(seed: int) -> Plan:
    """Of `make verify`: every point five times and every other fault four times and more."""
    rng = random.Random(seed)
    kinds = [*POINT_KINDS * 5, *draw_kinds(rng, 4 * len(OTHERS) + 40, OTHERS)]
    rng.shuffle(kinds)
    each = {**dict.fromkeys(POINT_KINDS, 5), WIPED: 3}
    return Plan(seed, 5000, kinds, Bars(faults=300, kinds=15, each=each), seconds=3000)
