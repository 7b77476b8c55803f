"""What a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from penstock.testing.history.facts import Facts, Finding


class Check(NamedTuple):
    """One check. `needs`: parts of a `History` without which (None) it cannot be made."""

    invariant: str
    find: Callable[[Facts], Iterator[Finding]]
    needs: tuple[str, ...] = ()
