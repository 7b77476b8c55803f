"""The faults of a run: each is drawn by seed, lasts for a moment, heals, and counts how often it bit.

The numbers F1 to F22 are those of the catalogue in docs/reliability.md. A fault that could not bite (a point
that nobody passed, a connection that was not there) says 0 and does not count.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from penstock.core.errors import PenstockError
from penstock.runtime.clock import SystemClock
from penstock.testing.chaos import data_faults, process_faults, wire_faults
from penstock.testing.chaos.field import Act, Drawn, Field
from penstock.testing.history import NemesisJournal

PAUSE_SECONDS: Final = (0.2, 1.5)
"""Between two faults; now and then the next one begins while the last one lasts."""

FAULTS: Final[dict[str, Callable[[Field], Drawn]]] = {
    **process_faults.FAULTS,
    **wire_faults.FAULTS,
    **data_faults.FAULTS,
}
"""By kind: draws a target and what is done to it."""


class Struck(NamedTuple):
    """A fault that is over."""

    kind: str
    target: str
    bit: int


class Nemesis:
    """Strikes one fault after the other, in pairs now and then."""

    def __init__(self, field: Field, journal: NemesisJournal, tell: Callable[[str], None]) -> None:
        self._field = field
        self._journal = journal
        self._tell = tell
        self._clock = SystemClock()
        self.struck: list[Struck] = []
        self.broken: list[str] = []
        """What went wrong in the faults themselves."""

    @property
    def bitten(self) -> Counter[str]:
        """How many faults of each kind bit so far."""
        return Counter(one.kind for one in self.struck if one.bit)

    def strike(self, kinds: Iterable[str], is_time: Callable[[], bool]) -> list[Struck]:
        """Each of these kinds in this order, while it is time; returns what became of them, all healed."""
        rng = self._field.rng
        never = threading.Event()
        first = len(self.struck)
        running: list[threading.Thread] = []
        try:
            for kind in kinds:
                if not is_time():
                    break
                alone = kind in ALONE
                # Of two that are the same, nobody could tell which of them bit.
                same = any(thread.name == kind for thread in running)
                if alone or same or len(running) > 1 or rng.random() < 0.6:
                    _join(running)
                target, act = FAULTS[kind](self._field)
                thread = threading.Thread(target=self._strike, args=(kind, target, act), name=kind)
                thread.start()
                running.append(thread)
                if alone:
                    _join(running)
                self._clock.sleep(rng.uniform(*PAUSE_SECONDS), never)
        finally:
            _join(running)
        return self.struck[first:]

    def _strike(self, kind: str, target: str, act: Act) -> None:
        op = self._journal.on(kind, target)
        began = self._clock.monotonic()
        note, bit = "", 0
        try:
            bit = act()
        except PenstockError as error:
            note = f" ({error})"
        except Exception as error:  # noqa: BLE001 - told at the end: else it would die with its thread
            self.broken.append(f"{kind}: {type(error).__name__}: {error}")
        self._journal.off(op, bit=bit)
        self.struck.append(Struck(kind, target, bit))
        seconds = self._clock.monotonic() - began
        self._tell(f"{kind:<28} {target:<34} {seconds:5.1f} s  bit {bit}{note}")


ALONE: Final = frozenset(("F4 kafka wiped", "F22 all away at once"))
"""What is not promised to hold together with others (docs/reliability.md), or leaves nothing to break."""


def draw_kinds(rng: random.Random, count: int, kinds: Sequence[str] = ()) -> list[str]:
    """So many faults, each kind once before any comes again."""
    chosen: list[str] = []
    every = sorted(kinds or FAULTS)
    while len(chosen) < count:
        chosen += rng.sample(every, len(every))
    return chosen[:count]


def _join(threads: list[threading.Thread]) -> None:
    while threads:
        threads.pop().join()
