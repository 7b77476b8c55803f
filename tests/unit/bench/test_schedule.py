"""The best wall of P1, on draws that can be worked out by hand."""

from __future__ import annotations

import pytest
from bench.draws import Task, lock_tasks
from bench.schedule import ideal_seconds


def tasks(*locks: str) -> list[Task]:
    """`ab` takes the locks a and b."""
    return [Task(tuple(names)) for names in locks]


def test_one_worker_has_one_task_after_the_other() -> None:
    assert ideal_seconds(lock_tasks(256, 128, 2, seed=1), 1, 0.5) == pytest.approx(128.0)


def test_without_conflicts_all_workers_are_busy() -> None:
    assert ideal_seconds(tasks("a", "b", "c", "d", "e"), 2, 1.0) == pytest.approx(3.0)


def test_those_that_want_the_same_wait_for_each_other() -> None:
    assert ideal_seconds(tasks("ab", "bc", "ca"), 3, 1.0) == pytest.approx(3.0)


def test_who_waits_for_a_lock_is_overtaken_unless_it_goes_in_turn() -> None:
    """The second waits for `a`; the third wants only `b`, for which the second waits, too."""
    draw = tasks("a", "ab", "b", "b")
    assert ideal_seconds(draw, 2, 1.0) == pytest.approx(3.0)
    assert ideal_seconds(draw, 2, 1.0, in_turn=True) == pytest.approx(4.0)


def test_more_workers_are_never_slower_and_the_locks_bound_them() -> None:
    draw = lock_tasks(256, 128, 2, seed=1)
    walls = [ideal_seconds(draw, workers, 0.5) for workers in (1, 2, 4, 8, 16, 32)]
    assert walls == sorted(walls, reverse=True)
    busiest = max(sum(name in task.locks for task in draw) for name in {n for t in draw for n in t.locks})
    assert walls[-1] >= busiest * 0.5


def test_no_task_takes_no_time() -> None:
    assert ideal_seconds([], 8, 0.5) == 0.0
