"""What a run must have done to be worth its verdict: so many faults that bit, of so many kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from penstock.testing.chaos.hooks import POINTS


class Measure(NamedTuple):
    """One bar, and what was reached."""

    what: str
    least: int
    reached: int

    @property
    def is_short(self) -> bool:
        """Whether it was not reached."""
        return self.reached < self.least

    def __str__(self) -> str:
        return f"{self.what}: {self.reached}, {self.least} are asked for"


class Bars(msgspec.Struct, frozen=True):
    """At least so much. `each`: how often a fault must bite, by its name."""

    faults: int = 0
    kinds: int = 0
    each: Mapping[str, int] = {}

    def measures(self, bitten: Counter[str]) -> list[Measure]:
        """Every bar; `bitten`: how many faults of each name bit."""
        names = [name for name, count in bitten.items() if count]
        return [
            Measure("faults that bit", self.faults, bitten.total()),
            Measure("kinds of the catalogue among them", self.kinds, len({family(name) for name in names})),
            *(Measure(f"{name} that bit", least, bitten[name]) for name, least in self.each.items()),
        ]

    def short(self, bitten: Counter[str]) -> list[Measure]:
        """The bars that are not reached."""
        return [one for one in self.measures(bitten) if one.is_short]


def family(fault: str) -> str:
    """The kind that a fault is of: its number in the catalogue, whatever its target and its manner.

    F1 is two: SIGKILL at any moment, and the end at a point between two effects, whichever point it is.
    """
    number, _, what = fault.partition(" ")
    if number != "F1":
        return number
    return "F1 crash point" if what in POINTS else "F1 kill"
