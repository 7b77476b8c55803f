"""Decides about jobs whose needs are all resolved, and sorts reports; nothing here has an effect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from penstock.core.states import Reason
from penstock.events.jobs import MAX_LIMITED, Report, Reports, limited_fault


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


class Sorted(msgspec.Struct, frozen=True):
    """Reports by what is to be done. A job is in it once: what is answered by job is answered by attempt."""

    starts: list[Report]
    ends: list[Report]
    releases: list[Report]

    @property
    def all(self) -> list[Report]:
        """Every one of them."""
        return [*self.starts, *self.ends, *self.releases]


def sort_reports(reports: Iterable[Report]) -> list[Sorted]:
    """Repeats are folded; a start whose end is there too is left to the end, which implies it.

    Several attempts of one job, of which one at most is current, are told apart by rounds: the first attempt
    of each job that was heard of, then the second, and so on.
    """
    newest: dict[str, dict[str, Report]] = {}
    for report in reports:
        attempts = newest.setdefault(report.job_id, {})
        known = attempts.get(report.token)
        if known is None or known.kind == "started":
            attempts[report.token] = report
    rounds: list[list[Report]] = []
    for _, attempts in sorted(newest.items()):
        for number, report in enumerate(attempts.values()):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(report)
    return [
        Sorted(
            starts=[report for report in one if report.kind == "started"],
            ends=[report for report in one if report.kind == "ended"],
            releases=[report for report in one if report.kind == "released"],
        )
        for one in rounds
    ]


def undecided_of(batch: Iterable[Reports]) -> list[str]:
    """Jobs that somebody asks to decide about, each once."""
    return list(dict.fromkeys(job_id for record in batch for job_id in record.undecided))


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
        **({"limited": limited} if (limited := limited_of(report)) else {}),
    }


def limited_of(report: Report) -> list[tuple[str, float]]:
    """Who told it to wait, without what no runner of ours would say: a report is not to be trusted."""
    return [one for one in report.limited[:MAX_LIMITED] if not limited_fault(*one)]


def late_row(report: Report) -> dict[str, Any]:
    """A refused report as `late_v1` notes it."""
    what: list[str] = [report.kind]
    if report.kind == "ended":
        what.append("success" if report.success else report.reason or "exit-code")
    if report.exit_code is not None:
        what.append(f"exit {report.exit_code}")
    return {"job_id": report.job_id, "attempt": report.attempt, "what": ", ".join(what)}
