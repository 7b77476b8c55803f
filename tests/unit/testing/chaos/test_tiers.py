"""What is done to a stack in each tier, and whether that is what the bars ask for."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from penstock.testing.chaos.bars import Bars, family
from penstock.testing.chaos.hooks import POINTS
from penstock.testing.chaos.nemesis import FAULTS, draw_kinds
from penstock.testing.chaos.run import Plan
from penstock.testing.chaos.tiers import OTHERS, POINT_KINDS, commit, deep

CATALOGUE = {
    "F1 kill", "F1 crash point", "F2", "F3", "F4", "F6", "F7", "F8", "F9", "F10", "F12", "F14", "F15", "F17",
    "F18", "F20", "F22",
}  # fmt: skip
"""The kinds of faults that a stack of one machine is given; F1 is two."""


def families(plan: Plan) -> set[str]:
    return {family(kind) for kind in plan.kinds}


def test_every_fault_is_of_a_kind_of_the_catalogue() -> None:
    assert {family(fault) for fault in FAULTS} == CATALOGUE
    assert {family(f"F1 {point}") for point in POINTS} == {"F1 crash point"}


def test_every_point_has_its_turn_soon() -> None:
    turns = [set(commit(turn).kinds) & set(POINT_KINDS) for turn in range(3)]
    assert set().union(*turns) == set(POINT_KINDS)
    assert all(len(turn) == 8 for turn in turns)


def test_every_kind_is_drawn_before_any_comes_again() -> None:
    drawn = draw_kinds(random.Random(1), 2 * len(FAULTS))
    assert set(Counter(drawn).values()) == {2}


@pytest.mark.parametrize("turn", range(12))
def test_a_test_run_has_points_and_many_other_kinds(turn: int) -> None:
    plan = commit(turn)
    assert plan.jobs >= 300
    assert (plan.bars.faults, plan.bars.kinds) == (10, 6)
    assert sum(kind in POINT_KINDS for kind in plan.kinds) == 8
    assert len(plan.kinds) >= 2 * plan.bars.faults, "not all of them find something to bite"
    assert len(families(plan)) > plan.bars.kinds
    assert plan == commit(turn)


@pytest.mark.parametrize("seed", [1, 1000])
def test_the_deep_tier_has_all_of_it_many_times(seed: int) -> None:
    plan = deep(seed)
    counted = Counter(plan.kinds)
    assert plan.jobs >= 5000
    assert families(plan) == CATALOGUE
    assert (plan.bars.faults, plan.bars.kinds) == (300, 15)
    assert plan.bars.each == {**{f"F1 {point}": 5 for point in POINTS}, "F4 kafka wiped": 3}
    assert all(counted[kind] >= 4 for kind in OTHERS)
    assert not plan.bars.short(counted), "when all of them bite"


def test_a_bar_is_told_with_what_was_reached() -> None:
    bars = Bars(faults=4, kinds=2, each={"F4 kafka wiped": 2})
    points = Counter({"F1 intake.committed": 1, "F1 relay.read": 3, "F3 kafka killed": 0})
    assert [str(one) for one in bars.short(points)] == [
        "kinds of the catalogue among them: 1, 2 are asked for",
        "F4 kafka wiped that bit: 0, 2 are asked for",
    ]
    assert bars.short(points + Counter({"F4 kafka wiped": 2})) == []
    assert [one.what for one in bars.short(Counter())] == [one.what for one in bars.measures(Counter())]
