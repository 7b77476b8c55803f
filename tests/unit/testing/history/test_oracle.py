"""The rules that histories are judged by, in small."""

from __future__ import annotations

import pytest

from penstock.core.states import JOB_TRANSITIONS
from penstock.testing.history.oracle import chain, expanded, fate, pipeline_state

JOBS = {
    "bad": {},
    "tolerated": {"continue-on-error": True},
    "good": {},
    "passed over": {},
    "followed a failure": {},
    "cancelled": {},
}
ENDS = {
    "bad": ("FAILED", "exit-code"),
    "tolerated": ("FAILED", "exit-code"),
    "good": ("SUCCESS", None),
    "passed over": ("SKIPPED", "condition-false"),
    "followed a failure": ("SKIPPED", "dependency-failed"),
    "cancelled": ("CANCELLED", "cancelled"),
}


@pytest.mark.parametrize(
    ("needs", "condition", "becomes"),
    [
        ([], "", "runs"),
        (["good", "tolerated"], "", "runs"),
        (["good", "bad"], "", "dependency-failed"),
        (["cancelled"], "", "dependency-failed"),
        (["passed over"], "", "condition-false"),
        (["bad", "passed over"], "always()", "runs"),
        (["bad"], "failure()", "runs"),
        (["followed a failure"], "failure()", "runs"),
        (["cancelled", "tolerated"], "failure()", "condition-false"),
        ([], "failure()", "condition-false"),
    ],
)
def test_fate(needs: list[str], condition: str, becomes: str) -> None:
    job = {"needs": needs} | ({"if": condition} if condition else {})
    assert fate(job, JOBS, ENDS) == becomes


@pytest.mark.parametrize(
    ("names", "state"),
    [
        (["good", "tolerated", "passed over"], "SUCCESS"),
        (["bad", "cancelled"], "FAILED"),
        (["good", "cancelled"], "CANCELLED"),
    ],
)
def test_pipeline_state(names: list[str], state: str) -> None:
    ends = {name: ENDS[name] for name in names}
    assert pipeline_state(JOBS, ends, cancelled=False) == state
    assert pipeline_state(JOBS, ends, cancelled=True) == "CANCELLED"


@pytest.mark.parametrize(
    ("states", "wrong"),
    [
        (["QUEUED", "ASSIGNED", "RUNNING", "SUCCESS"], ""),
        (["QUEUED", "RUNNING"], "version 2 goes from QUEUED to RUNNING"),
        (["QUEUED", "ASSIGNED"], "ends in ASSIGNED"),
        ([], "ends in None"),
    ],
)
def test_a_history_must_be_legal_and_end(states: list[str], wrong: str) -> None:
    records = zip(range(1, 9), [None, *states], states, strict=False)
    assert chain(records, JOB_TRANSITIONS) == wrong


def test_a_history_has_no_gap_and_no_jump() -> None:
    assert chain([(1, None, "QUEUED"), (3, "QUEUED", "CANCELLED")], JOB_TRANSITIONS) == "version 2 is 3"
    broken = [(1, None, "PENDING"), (2, "QUEUED", "CANCELLED")]
    assert chain(broken, JOB_TRANSITIONS) == "version 2 comes from QUEUED, the state was PENDING"


def test_cells_take_the_place_of_their_job() -> None:
    axes = {"os": ["linux", "mac"], "n": [1]}
    jobs = {
        "a": {"strategy": {"matrix": axes}},
        "b": {"needs": ["a"]},
        "c": {"strategy": {"max-parallel": 1}},
    }
    assert {name: job["needs"] for name, job in expanded({"jobs": jobs}).items()} == {
        "a (linux, 1)": [], "a (mac, 1)": [], "b": ["a (linux, 1)", "a (mac, 1)"], "c": [],
    }  # fmt: skip
