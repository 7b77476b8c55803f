"""What the workloads draw by lot."""

from __future__ import annotations

import itertools
import statistics

import pytest
from bench.draws import lock_tasks, poisson, random_graph


def test_a_poisson_process_has_its_rate_and_gaps_as_long_as_they_differ() -> None:
    moments = poisson(80.0, 300.0, seed=1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(moments) == pytest.approx(24_000, rel=0.03)
    assert statistics.mean(gaps) == pytest.approx(1 / 80, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 80, rel=0.05)
    assert moments == sorted(moments)
    assert moments[0] > 0
    assert moments[-1] < 300


def test_the_same_seed_draws_the_same() -> None:
    assert poisson(5.0, 60.0, seed=3) == poisson(5.0, 60.0, seed=3) != poisson(5.0, 60.0, seed=4)
    assert lock_tasks(9, 128, 2, seed=3) == lock_tasks(9, 128, 2, seed=3) != lock_tasks(9, 128, 2, seed=4)
    assert random_graph(50, 3, seed=3) == random_graph(50, 3, seed=3) != random_graph(50, 3, seed=4)


def test_a_random_graph_needs_only_what_is_before() -> None:
    graph = random_graph(200, 3, seed=11)
    before: set[str] = set()
    for number, (name, needs) in enumerate(graph.items()):
        assert len(needs) == len(set(needs)) == min(3, number)
        assert before.issuperset(needs)
        before.add(name)
    assert len(before) == 200


def test_a_task_takes_different_locks() -> None:
    tasks = lock_tasks(256, 128, 2, seed=1)
    assert len(tasks) == 256
    assert all(len(set(task.locks)) == 2 for task in tasks)
    assert len({name for task in tasks for name in task.locks}) > 100
