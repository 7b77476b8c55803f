"""What B8 makes of the transitions it reads."""

from __future__ import annotations

import pytest
from bench.workloads.b8 import Row, judged, seconds_to_former_rate


def success(job: int, at: float) -> Row:
    return (str(job), 4, "SUCCESS", 1, None, at)


def test_lost_repeated_and_executed_again() -> None:
    rows: list[Row] = [
        ("a", 3, "RUNNING", 1, None, 1.0),
        ("a", 5, "RUNNING", 2, None, 2.0),
        ("a", 6, "SUCCESS", 2, None, 3.0),
        ("b", 3, "RUNNING", 1, None, 1.0),
        ("b", 4, "SUCCESS", 1, None, 2.0),
        ("b", 5, "SUCCESS", 1, None, 2.5),
    ]
    assert judged(rows, jobs=3) == {"lost": 1, "second": 1, "again": 1}


def test_the_former_rate_is_back_after_the_longest_pause() -> None:
    """A hundred a second, killed at 1.0; what is in flight ends, nothing for 5 s, then as before."""
    before = [success(n, n / 100) for n in range(110)]
    after = [success(110 + n, 6.1 + n / 100) for n in range(200)]
    assert seconds_to_former_rate([*before, *after], killed=1.0) == pytest.approx(5.1)


def test_who_is_not_missed_costs_nothing() -> None:
    assert seconds_to_former_rate([success(n, n / 100) for n in range(300)], killed=1.0) == 0.0


def test_a_rate_that_is_not_reached_again_counts_to_the_end() -> None:
    slow = [success(100 + n, 1.0 + n / 10) for n in range(50)]
    assert seconds_to_former_rate(
        [success(n, n / 100) for n in range(100)] + slow, killed=1.0
    ) == pytest.approx(4.9)
