"""How much is done to a stack: in every test run, and in `make verify`."""

from __future__ import annotations

import random
from typing import Final

from penstock.testing.chaos.hooks import POINTS
from penstock.testing.chaos.nemesis import FAULTS, draw_kinds
from penstock.testing.chaos.run import Plan
from penstock.testing.turns import due

POINT_KINDS: Final = [f"F1 {name}" for name in POINTS]
OTHERS: Final = [kind for kind in FAULTS if kind not in POINT_KINDS]


def commit(turn: int) -> Plan:
    """Of a test run: a third of the points by turns, and a dozen other faults."""
    rng = random.Random(turn)
    kinds = [*due(POINT_KINDS, turn, 8), *draw_kinds(rng, 12, OTHERS)]
    rng.shuffle(kinds)
    return Plan(turn, 300, kinds)


def deep(seed: int) -> Plan:
    """Of `make verify`: every point and every other fault five times and more, Kafka wiped as often."""
    rng = random.Random(seed)
    kinds = [*POINT_KINDS * 5, *draw_kinds(rng, 5 * len(OTHERS) + 20, OTHERS)]
    rng.shuffle(kinds)
    return Plan(seed, 5000, kinds)
