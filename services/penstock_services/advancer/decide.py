"""Decides about jobs whose needs are all resolved, and sorts reports; nothing here has an effect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from penstock.core.states import Reason
from penstock.events.jobs import Report, Reports


class Facts(msgspec.Struct, frozen=True):
    """How the needs of one PENDING job ended (`undecided_v1.sql`).

    `failed` counts needs that FAILED without continue-on-error or were skipped because of such a failure;
    `skipped` those skipped by their own condition.
    """

    job_id: str
    pipeline_id: str
    condition: str
    cancelling: bool
    failed: int
    cancelled: int
    skipped: int


class Decision(msgspec.Struct, frozen=True):
    """What a PENDING job becomes."""

    job_id: str
    becomes: Literal["QUEUED", "SKIPPED"]
    reason: Reason | None


def decide(facts: Facts) -> Decision:
    """`if:` without an expression is `success()`, as at GitHub: every need must have ended well."""
    if _runs(facts):
        return Decision(facts.job_id, "QUEUED", None)
    failed = facts.failed or facts.cancelled
    reason: Reason = (
        "dependency-failed" if failed and facts.condition in ("", "success") else "condition-false"
    )
    return Decision(facts.job_id, "SKIPPED", reason)


def _runs(facts: Facts) -> bool:
    match facts.condition:
        case "always":
            return True
        case "failure":
            return facts.failed > 0
        case _:
            return facts.failed == facts.cancelled == facts.skipped == 0


class Sorted(msgspec.Struct):
    """The reports of a batch by what is to be done: each attempt once, its end before its start."""

    starts: list[Report]
    ends: list[Report]
    releases: list[Report]
    undecided: list[str]


def sort_reports(batch: Iterable[Reports]) -> Sorted:
    """Repeats are folded; a start whose end is in the same batch is left to the end, which implies it."""
    newest: dict[tuple[str, str], Report] = {}
    undecided: dict[str, None] = {}
    for record in batch:
        undecided.update(dict.fromkeys(record.undecided))
        for report in record.reports:
            key = (report.job_id, report.token)
            if key not in newest or newest[key].kind == "started":
                newest[key] = report
    by_job = sorted(newest.values(), key=_job_id)
    return Sorted(
        starts=[report for report in by_job if report.kind == "started"],
        ends=[report for report in by_job if report.kind == "ended"],
        releases=[report for report in by_job if report.kind == "released"],
        undecided=list(undecided),
    )


def finish_row(report: Report, jitter: float) -> dict[str, Any]:
    """A report as `finish_v1` takes it."""
    return {
        "job_id": report.job_id,
        "token": report.token,
        "success": report.success,
        "ran": report.started_here,
        "exit_code": report.exit_code,
        "reason": None if report.success else report.reason or "exit-code",
        "duration_ms": report.duration_ms,
        "last_seq": report.last_seq,
        # A runner that is being stopped gave it back: there is nothing to wait for.
        "jitter": 0.0 if report.reason == "worker-lost" else jitter,
    }


def late_row(report: Report) -> dict[str, Any]:
    """A refused report as `late_v1` notes it."""
    what: list[str] = [report.kind]
    if report.kind == "ended":
        what.append("success" if report.success else report.reason or "exit-code")
    if report.exit_code is not None:
        what.append(f"exit {report.exit_code}")
    return {"job_id": report.job_id, "attempt": report.attempt, "what": ", ".join(what)}


def _job_id(report: Report) -> str:
    return report.job_id
