"""The view from status records in any order."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.fake_gateway import PIPELINE, job, job_id, life, status

from penstock.cli.view import PipelineView

START = 1_767_323_045.0  # of fake_gateway.AT


def at(seconds: int, record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "at": f"2026-01-02T03:04:{5 + seconds:02d}.000000Z"}


def story() -> list[dict[str, Any]]:
    """Three jobs: one runs well, one is retried and fails, one is skipped."""
    again = {"job_id": job_id(2), "name": "flaky", "exit_code": None}
    flaky = [
        status(1, "QUEUED", **again, attempt=0),
        status(2, "ASSIGNED", **again, attempt=1),
        status(3, "RUNNING", **again, attempt=1),
        status(4, "RETRYING", **again, attempt=1, reason="exit-code"),
        status(5, "QUEUED", **again, attempt=1),
        status(6, "ASSIGNED", **again, attempt=2),
        status(7, "RUNNING", **again, attempt=2),
        status(8, "FAILED", **{**again, "exit_code": 3}, attempt=2, reason="exit-code", duration_ms=900),
    ]
    skipped = [
        status(number, state, job_id=job_id(3), name="after", attempt=0)
        for number, state in enumerate(("PENDING", "SKIPPED"), 1)
    ]
    whole = [status(1, "PENDING"), status(2, "RUNNING"), status(3, "FAILED")]
    return [at(second, record) for second, record in enumerate((*life(1, "fine"), *flaky, *skipped, *whole))]


def seen(records: list[dict[str, Any]]) -> PipelineView:
    view = PipelineView(PIPELINE)
    for record in records:
        view.apply(record)  # type: ignore[arg-type]
    return view


def facts(view: PipelineView) -> object:
    jobs = {job.job_id: vars(job) for job in view.jobs.values()}
    return {**vars(view), "jobs": jobs}


def test_the_story_is_understood() -> None:
    view = seen(story())
    fine, flaky, after = (view.jobs[job_id(number)] for number in (1, 2, 3))
    assert (view.state, view.terminal, view.counts()) == (
        "FAILED",
        True,
        {"SUCCESS": 1, "FAILED": 1, "SKIPPED": 1},
    )
    assert (fine.state, fine.seconds(0.0)) == ("SUCCESS", 1.2)
    assert (flaky.state, flaky.attempt, flaky.exit_code, flaky.seconds(0.0)) == ("FAILED", 2, 3, 0.9)
    assert (after.state, after.seconds(0.0)) == ("SKIPPED", None)


@given(st.randoms(use_true_random=False), st.integers(0, 30))
def test_order_and_repeats_change_nothing(shuffler: random.Random, repeats: int) -> None:
    records = story()
    again = [*records, *shuffler.choices(records, k=repeats)]
    shuffler.shuffle(again)
    assert facts(seen(again)) == facts(seen(records))


def test_what_is_not_new_changes_nothing() -> None:
    view = PipelineView(PIPELINE)
    records = life(1, "a")
    assert view.apply(records[2]) is not None  # type: ignore[arg-type]
    assert view.apply(records[2]) is None  # type: ignore[arg-type]
    assert view.apply(records[0]) is None  # type: ignore[arg-type]


def test_a_running_job_has_run_since_its_start() -> None:
    view = seen([at(0, record) for record in life(1, "a")[:3]])
    assert view.jobs[job_id(1)].seconds(START + 7) == 7
    assert view.jobs[job_id(1)].seconds(START - 7) == 0  # its clock is ahead of ours


def test_a_job_that_goes_back_to_the_queue_does_not_run() -> None:
    about = {"job_id": job_id(1), "name": "a", "attempt": 1}
    view = seen([*life(1, "a")[:3], status(4, "QUEUED", **about, reason="worker-lost")])
    assert view.jobs[job_id(1)].seconds(START + 7) is None


def test_jobs_stand_level_by_level_and_by_name() -> None:
    view = PipelineView(PIPELINE)
    found = [
        job(1, "report", level=2, needs=["test (10)", "test (2)"]),
        job(2, "test (10)", level=1),
        job(3, "test (2)", level=1),
        job(4, "zero", level=0, executor="noop"),
    ]
    view.lay_out(found)  # type: ignore[arg-type]
    assert [one.name for one in view.ordered()] == ["zero", "test (2)", "test (10)", "report"]
    assert view.stages() == [("", view.ordered())]
    assert view.jobs[job_id(4)].silent
    assert view.unmet(view.jobs[job_id(1)]) == ["test (10)", "test (2)"]
    view.apply(life(3, "test (2)")[-1])  # type: ignore[arg-type]
    assert view.unmet(view.jobs[job_id(1)]) == ["test (10)"]


def test_jobs_are_grouped_by_stage_in_the_order_in_which_stages_run() -> None:
    view = PipelineView(PIPELINE)
    view.lay_out(
        [
            job(1, "a", stage="test", level=1),  # type: ignore[list-item]
            job(2, "b", stage="build", level=0),  # type: ignore[list-item]
            job(3, "c", stage="test", level=1),  # type: ignore[list-item]
        ]
    )
    grouped = [(stage, [one.name for one in jobs]) for stage, jobs in view.stages()]
    assert grouped == [("build", ["b"]), ("test", ["a", "c"])]


def test_a_whole_answer_and_the_records_give_the_same_states() -> None:
    view = PipelineView(PIPELINE)
    view.show([job(1, "fine"), job(2, "x", "RUNNING", attempt=2)])  # type: ignore[list-item]
    assert view.jobs[job_id(1)].seconds(0.0) == 1.2
    assert view.jobs[job_id(2)].seconds(START + 3) == 3
    view.show([job(1, "fine", "RUNNING", version=3)])  # type: ignore[list-item]
    assert view.jobs[job_id(1)].state == "SUCCESS"
