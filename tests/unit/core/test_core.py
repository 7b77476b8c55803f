from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core import ids, lanes, states
from penstock.core.errors import Problem, RejectInput


@given(st.floats(0, 2**40 / 1000))
def test_uuid7_is_one_and_tells_its_time(now: float) -> None:
    made = ids.uuid7(now)
    assert UUID(made).version == 7
    assert UUID(made).variant == "specified in RFC 4122"
    assert ids.id_time(made) == pytest.approx(now, abs=0.0011)


def test_uuid7_sorts_by_time() -> None:
    made = [ids.uuid7(1_700_000_000 + n) for n in range(100)]
    assert made == sorted(made)


def test_uuid4_is_random_and_one() -> None:
    made = {ids.uuid4() for _ in range(1000)}
    assert len(made) == 1000
    assert {UUID(one).version for one in made} == {4}


@pytest.mark.parametrize("bad", ["", "x", "0" * 32, "01A2021D-A06C-7FB5-A1DF-B80F32F32910", "{}"])
def test_only_the_canonical_form_is_an_id(bad: str) -> None:
    assert not ids.is_uuid(bad)


@pytest.mark.parametrize(
    ("priority", "lane"),
    [
        (1, "normal"),
        (3, "normal"),
        (4, "high"),
        (7, "high"),
        (8, "critical"),
        (10, "critical"),
        ("high", "high"),
    ],
)
def test_lanes_of_priorities(priority: str | int, lane: str) -> None:
    assert lanes.lane_of(priority) == lane


@pytest.mark.parametrize("priority", [0, 11, "urgent", "5", True])
def test_no_lane_for_anything_else(priority: str | int) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        lanes.lane_of(priority)


def test_default_lanes() -> None:
    lane = lanes.default_lane
    assert lane(trigger="manual", environment=True, branch="x", default_branch="main") == "critical"
    assert lane(trigger="push", environment=True, branch="main", default_branch="main") == "high"
    assert lane(trigger="push", environment=False, branch="x", default_branch="main") == "normal"
    assert lane(trigger="push", environment=False, branch="", default_branch="") == "normal"


def test_terminal_states_absorb_and_every_state_can_be_reached() -> None:
    for terminal in states.JOB_TERMINAL:
        assert not states.JOB_TRANSITIONS[terminal]
    reached = set[str]().union(*states.JOB_TRANSITIONS.values())
    assert reached == set(states.JOB_STATES)
    assert set(states.JOB_TRANSITIONS) == {None, *states.JOB_STATES}
    assert set(states.PIPELINE_TRANSITIONS) == {None, *states.PIPELINE_STATES}


def test_a_problem_says_what_where_and_how_to_mend() -> None:
    problem = Problem("unknown key 'scirpt'", "jobs.a", 3, 5, "did you mean 'script'?")
    assert str(problem) == "line 3, column 5: jobs.a: unknown key 'scirpt' (did you mean 'script'?)"
    assert str(RejectInput(problem)) == str(problem)
