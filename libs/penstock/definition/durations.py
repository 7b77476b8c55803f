"""Durations as people write them: `90`, `90s`, `15m`, `2h`, `1h30m`, `1.5h`."""

from __future__ import annotations

import functools
import re
from typing import Final

from penstock.definition.limits import MAX_DURATION_SECONDS

EXPECTED: Final = "a duration such as 90s, 15m or 1h30m, more than 0 and at most 7d"
PATTERN: Final = (
    r"(?=[0-9])(?:[0-9]{1,6}(?:\.[0-9]{1,6})?d)?(?:[0-9]{1,6}(?:\.[0-9]{1,6})?h)?"
    r"(?:[0-9]{1,6}(?:\.[0-9]{1,6})?m)?(?:[0-9]{1,6}(?:\.[0-9]{1,6})?s?)?"
)
"""Days, hours, minutes and seconds in this order; a number without a unit is seconds."""

_WHOLE: Final = re.compile(PATTERN)
_PART: Final = re.compile(r"([0-9.]+)([dhms]?)")
_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "": 1}


def parse_duration(value: object) -> float:
    """Seconds, an `int` where they are whole.

    Raises:
        ValueError: not a duration, or not in (0, 7 days].
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, bool):
        raise ValueError(EXPECTED)  # noqa: TRY004 - one error for "not a duration", whatever its type
    if isinstance(value, int | float):
        return _within_limit(value)
    raise ValueError(EXPECTED)


@functools.lru_cache(maxsize=64)
def _parse_text(text: str) -> float:
    """The same text stands in many jobs."""
    if len(text) > 64 or not _WHOLE.fullmatch(text):
        raise ValueError(EXPECTED)
    parts = _PART.findall(text)
    return _within_limit(
        sum((float(number) if "." in number else int(number)) * _SECONDS[unit] for number, unit in parts)
    )


def _within_limit(seconds: float) -> float:
    # Written so that NaN, which compares to nothing, is refused too.
    if not 0 < seconds <= MAX_DURATION_SECONDS:
        raise ValueError(EXPECTED)
    return int(seconds) if seconds == int(seconds) else seconds
