"""Rules: what a proxy is to do wrong, how often, and the count that proves that it did."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable

Dose = int | float
"""How often a rule bites: an int says so many times, a float with which probability, each time anew."""
ALWAYS = 1.0


class Rule:
    """Starts at once; ends by `lift`, or by itself when its number is used up."""

    def __init__(
        self,
        dose: Dose,
        chance: random.Random,
        on_lift: Callable[[Rule], None],
        *,
        value: float = 0.0,
        jitter: float = 0.0,
        text: str = "",
        like: tuple[str, ...] = (),
    ) -> None:
        """`like`: regular expressions, each of which must be found in its part of the subject."""
        self.hits = 0
        """How often it bit."""
        self.value = value
        """How much: seconds, bytes a second, a status."""
        self.text = text
        """What: an SQLSTATE, a code of S3."""
        self.lifted = asyncio.Event()
        self._left = dose if isinstance(dose, int) else None
        self._probability = 1.0 if isinstance(dose, int) else dose
        self._chance = chance
        self._jitter = jitter
        self._on_lift = on_lift
        self._like = [re.compile(one) for one in like]

    def lift(self) -> None:
        """End it; what it held back goes on. May be repeated."""
        self._on_lift(self)

    def bites(self, *subject: str) -> bool:
        """Whether it bites now, on this; it counts as a hit then."""
        if self._left == 0:
            return False
        if not all(like.search(part) for like, part in zip(self._like, subject, strict=False)):
            return False
        if self._probability < 1 and self._chance.random() >= self._probability:
            return False
        if self._left is not None:
            self._left -= 1
        self.hits += 1
        return True

    def about(self) -> float:
        """Its value, with jitter."""
        return self.value + self._chance.uniform(0, self._jitter)
