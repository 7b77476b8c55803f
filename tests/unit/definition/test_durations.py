"""Durations."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.definition.durations import parse_duration
from penstock.definition.limits import MAX_DURATION_SECONDS


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (90, 90), ("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1d", 86_400),
        ("7d", 604_800), ("1d2h3m4s", 93_784), ("1h30", 3630), ("0.5", 0.5), ("1.5h", 5400), (0.25, 0.25),
        ("0h5m", 300), (3.0, 3),
    ],
)  # fmt: skip
def test_what_people_write(written: object, seconds: float) -> None:
    found = parse_duration(written)
    assert found == seconds
    assert isinstance(found, int) == (seconds == int(seconds))


@pytest.mark.parametrize(
    "written",
    [
        "", "0", 0, -1, "-5m", "15 m", " 5m", "5m\n", "m", "s", "30m1h", "1h1h", "15min", "1w", ".5s", "1.s",
        "8d", "604801", 604_801, float("nan"), float("inf"), "9" * 100, True, None, [], {}, "٥m", "1e3",
    ],
)  # fmt: skip
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(written)


@settings(deadline=None)
@given(st.integers(1, MAX_DURATION_SECONDS))
def test_units_add_up(seconds: int) -> None:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    assert parse_duration(f"{days}d{hours}h{minutes}m{rest}s") == seconds
    assert parse_duration(str(seconds)) == parse_duration(seconds) == seconds


@settings(deadline=None)
@given(st.text("0123456789dhms. -", max_size=12))
def test_never_out_of_bounds(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 < parse_duration(text) <= MAX_DURATION_SECONDS
