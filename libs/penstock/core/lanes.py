"""Lanes: the three priorities by which ready jobs are ordered, and how other words map to them."""

from __future__ import annotations

from typing import Final, Literal, get_args

Lane = Literal["critical", "high", "normal"]

LANES: Final[tuple[Lane, ...]] = get_args(Lane)
"""In the order in which they are served."""


def lane_of(priority: str | int) -> Lane:
    """The lane of a priority: a lane's own name, or 1..10 (1-3 normal, 4-7 high, 8-10 critical).

    Raises `ValueError` for anything else.
    """
    if isinstance(priority, str):
        if priority in LANES:
            return priority
        raise ValueError(f"priority {priority!r} is not one of {', '.join(LANES)} or 1..10")
    if isinstance(priority, bool) or not 1 <= priority <= 10:
        raise ValueError(f"priority {priority!r} is not one of {', '.join(LANES)} or 1..10")
    if priority <= 3:
        return "normal"
    return "high" if priority <= 7 else "critical"


def default_lane(*, trigger: str, environment: bool, branch: str, default_branch: str) -> Lane:
    """The lane of a job for which neither it nor its request names one (interface §3).

    A manual run into an environment is `critical`, the default branch is `high`, all else `normal`.
    """
    if trigger == "manual" and environment:
        return "critical"
    if branch and branch == default_branch:
        return "high"
    return "normal"
