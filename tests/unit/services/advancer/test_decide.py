from __future__ import annotations

import pytest

from penstock.events.jobs import Report, Reports
from penstock_services.advancer.decide import Facts, decide, finish_row, sort_reports, undecided_of


def facts(condition: str = "", **more: int) -> Facts:
    return Facts(
        job_id="j", pipeline_id="p", condition=condition, cancelling=False,
        **{"failed": 0, "cancelled": 0, "skipped": 0, **more},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "ends", "becomes", "reason"),
    [
        ("", {}, "QUEUED", None),
        ("success", {}, "QUEUED", None),
        ("", {"failed": 1}, "SKIPPED", "dependency-failed"),
        ("", {"cancelled": 1}, "SKIPPED", "dependency-failed"),
        ("", {"skipped": 1}, "SKIPPED", "condition-false"),
        ("always", {"failed": 2, "cancelled": 1, "skipped": 1}, "QUEUED", None),
        ("failure", {"failed": 1}, "QUEUED", None),
        ("failure", {}, "SKIPPED", "condition-false"),
        ("failure", {"cancelled": 1}, "SKIPPED", "condition-false"),
    ],
)
def test_conditions(condition: str, ends: dict[str, int], becomes: str, reason: str | None) -> None:
    decision = decide(facts(condition, **ends))
    assert (decision.becomes, decision.reason) == (becomes, reason)


def report(job: str, kind: str, token: str = "t") -> Report:
    return Report(job_id=job, attempt=1, token=token, kind=kind)  # type: ignore[arg-type]


def test_reports_are_sorted_by_job_and_an_end_swallows_its_start() -> None:
    reports = [
        report("b", "started"),
        report("a", "started"),
        report("b", "ended"),
        report("c", "released"),
        report("b", "started"),
        report("b", "ended"),
    ]
    (todo,) = sort_reports(reports)
    assert [one.job_id for one in todo.starts] == ["a"]
    assert [one.job_id for one in todo.ends] == ["b"]
    assert [one.job_id for one in todo.releases] == ["c"]
    assert [one.job_id for one in todo.all] == ["a", "b", "c"]


def test_two_attempts_of_a_job_are_told_apart() -> None:
    """Each goes to the store alone: its answer names jobs."""
    reports = [report("a", "ended", "t1"), report("b", "ended"), report("a", "started", "t2")]
    first, second = sort_reports(reports)
    assert [one.token for one in first.ends] == ["t1", "t"]
    assert first.starts == []
    assert [one.token for one in second.starts] == ["t2"]


def test_jobs_to_decide_about_are_asked_once() -> None:
    batch = [
        Reports(pipeline_id="p", reports=[], undecided=["x"]),
        Reports(pipeline_id="p", reports=[], undecided=["x", "y"]),
    ]
    assert undecided_of(batch) == ["x", "y"]


def test_a_failure_without_a_reason_is_an_exit_code() -> None:
    assert finish_row(report("a", "ended"), 0.5)["reason"] == "exit-code"
    success = Report(job_id="a", attempt=1, token="t", kind="ended", success=True, reason="signal")
    assert finish_row(success, 0.5)["reason"] is None


def test_what_it_was_told_to_wait_for_is_passed_on_but_never_trusted() -> None:
    def limited(*given: tuple[str, float]) -> object:
        told = Report(job_id="a", attempt=1, token="t", kind="ended", limited=list(given))
        return finish_row(told, 0.5).get("limited")

    assert limited() is None
    assert limited(("registry", 30.0), ("hub", 0.0)) == [("registry", 30.0), ("hub", 0.0)]
    odd = [("", 1.0), ("a\0b", 1.0), ("n" * 257, 1.0), ("x", -1.0), ("x", 86_401.0), ("x", float("nan"))]
    assert limited(*odd) is None
    assert limited(*odd, ("good", 1.0)) == [("good", 1.0)]
    assert limited(*((f"n{n}", 1.0) for n in range(1_000))) == [(f"n{n}", 1.0) for n in range(64)]
