"""What is done to a stack in each tier."""

from __future__ import annotations

import random
from collections import Counter

from penstock.testing.chaos.hooks import POINTS
from penstock.testing.chaos.nemesis import FAULTS, draw_kinds
from penstock.testing.chaos.tiers import OTHERS, POINT_KINDS, commit, deep


def test_every_point_has_its_turn_soon() -> None:
    turns = [set(commit(turn).kinds) & set(POINT_KINDS) for turn in range(3)]
    assert set().union(*turns) == set(POINT_KINDS)
    assert all(len(turn) == 8 for turn in turns)


def test_every_kind_is_drawn_before_any_comes_again() -> None:
    drawn = draw_kinds(random.Random(1), 2 * len(FAULTS))
    assert set(Counter(drawn).values()) == {2}


def test_a_test_run_has_points_and_many_other_kinds() -> None:
    plan = commit(7)
    assert plan.jobs >= 300
    assert sum(kind in POINT_KINDS for kind in plan.kinds) == 8
    assert len(set(plan.kinds) - set(POINT_KINDS)) >= 10
    assert plan == commit(7)


def test_the_deep_tier_has_all_of_it_many_times() -> None:
    plan = deep(1)
    counted = Counter(plan.kinds)
    assert plan.jobs >= 5000
    assert len(plan.kinds) >= 300
    assert all(counted[f"F1 {name}"] >= 5 for name in POINTS)
    assert all(counted[kind] >= 3 for kind in OTHERS)
