"""When the queue is read again, and how far in one turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.core.errors import RetryLater
from penstock_services.dispatcher.sweeps import Sweeps


class Work:
    """Sweeps of three parts; those whose numbers are in `fails` cannot be done."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.fails: set[int] = set()
        self.sweeps = Sweeps(self._sweep, 10.0)

    def turn(self, now: float, *, whole: bool = False) -> list[int]:
        before = len(self.done)
        self.sweeps.turn(now, whole=whole)
        return self.done[before:]

    def _sweep(self) -> Iterator[None]:
        for part in (1, 2):
            self._part(part)
            yield
        self._part(3)

    def _part(self, part: int) -> None:
        if part in self.fails:
            raise RetryLater("not now")
        self.done.append(part)


def test_a_part_a_turn_and_the_next_sweep_when_it_is_due() -> None:
    work = Work()
    assert [work.turn(now) for now in (0.0, 1.0)] == [[1], [2]]
    assert work.sweeps.under_way
    assert work.turn(2.0) == [3]
    assert not work.sweeps.under_way
    assert [work.turn(now) for now in (3.0, 11.9, 12.0)] == [[], [], [1]]


def test_a_whole_one_takes_the_place_of_what_is_under_way() -> None:
    work = Work()
    work.turn(0.0)
    assert work.turn(1.0, whole=True) == [1, 2, 3]
    assert [work.turn(now) for now in (10.9, 11.0)] == [[], [1]]


def test_one_that_failed_begins_anew_at_once() -> None:
    work = Work()
    assert work.turn(0.0) == [1]
    work.fails = {2}
    with pytest.raises(RetryLater):
        work.turn(0.1)
    work.fails = set()
    assert [work.turn(now) for now in (0.2, 0.3, 0.4)] == [[1], [2], [3]]


def test_one_that_must_be_whole_stays_so_when_it_failed() -> None:
    work = Work()
    work.turn(0.0, whole=True)
    work.fails = {2}
    with pytest.raises(RetryLater):
        work.turn(1.0, whole=True)
    work.fails = set()
    assert work.turn(1.1) == [1, 2, 3]
    assert work.turn(2.0) == []
