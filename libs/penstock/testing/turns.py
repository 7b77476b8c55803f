"""Turns: what is too much for every test run is done in part, some other part for another commit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from penstock.runtime.clock import SystemClock

DAY: Final = 86_400
COMMIT: Final = ("git", "rev-parse", "--verify", "HEAD")
DIGITS: Final = 8
"""Of the commit's id: enough for every rotation, and a number that a person can type."""

T = TypeVar("T")


def turn(checkout: Path) -> int:
    """A number by the id of the commit that is checked out there; that of the day where git knows none.

    Any number of commits of history will do: a shallow clone has its turns, too.
    """
    try:
        said = subprocess.run(COMMIT, cwd=checkout, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        said = ""
    return int(said[:DIGITS], 16) if said else int(SystemClock().now() // DAY)


def due(items: Sequence[T], number: int, at_once: int) -> list[T]:
    """So many of them at a turn, all of them in as few turns as it takes."""
    first = number * at_once
    return [items[(first + n) % len(items)] for n in range(min(at_once, len(items)))]
