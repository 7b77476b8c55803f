"""Turns: what is too much for every test run is done in part, another part for another commit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from penstock.runtime.clock import SystemClock

DAY: Final = 86_400
COUNT: Final = ("git", "rev-list", "--count", "HEAD")

T = TypeVar("T")


def turn(checkout: Path) -> int:
    """How many commits led to what is checked out there; the number of the day where git knows none."""
    try:
        counted = subprocess.run(COUNT, cwd=checkout, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        counted = ""
    return int(counted) if counted.strip() else int(SystemClock().now() // DAY)


def due(items: Sequence[T], number: int, at_once: int) -> list[T]:
    """So many of them at a turn, all of them in as few turns as it takes."""
    first = number * at_once
    return [items[(first + n) % len(items)] for n in range(min(at_once, len(items)))]
