"""I5, I6: what runners really did against what was accepted of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from penstock.events import topics
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, Row
from penstock.testing.history.past import Run

OURS: Final = frozenset(("worker-lost", "infra-error"))
"""Reasons that are charged to us, not to the job's retry policy."""
ITS_OWN: Final = frozenset(("exit-code", "signal", "run-timeout", "log-limit"))
"""Reasons that are charged to it."""


def accepted_reports(facts: Facts) -> Iterator[Finding]:
    """I5: an end that was told in time was told under the token of its attempt, and like this."""
    told = _reports(facts)
    for attempt in facts.books.attempts:
        key = (attempt["job_id"], attempt["attempt"])
        reports = told.get(key, [])
        tokens = {grant.token for grant in facts.granted.get(key, ())}
        if not attempt["reported"] or not reports or not tokens:
            continue  # a topic that was lost proves nothing
        right = [report for report in reports if report["token"] in tokens]
        if not any(_tells(report, attempt) for report in right):
            foreign = ", under another token" if any(_tells(report, attempt) for report in reports) else ""
            text = f"ended {attempt['state']} with {attempt['exit_code']}, which its runner did not tell"
            yield facts.about_attempt(text + foreign, *key)


def settled_truly(facts: Facts) -> Iterator[Finding]:
    """I5: a runner is told that its end counts exactly when it does."""
    for _, value in facts.values(topics.WORKERS_CONTROL.name):
        for job_id, attempt, kind, accepted in value.get("settled", ()):
            row = facts.attempt.get((job_id, attempt))
            if kind == "ended" and accepted and (row is None or not row["reported"]):
                yield facts.about_attempt("its end was settled as accepted, and was not", job_id, attempt)


def late_is_nothing(facts: Facts) -> Iterator[Finding]:
    """I5: what was refused as late is of an attempt that was taken back before."""
    for attempt in facts.books.attempts:
        if attempt["late"] and attempt["reported"]:
            text = f"told its end in time, and too late: {attempt['late']}"
            yield facts.about_attempt(text, attempt["job_id"], attempt["attempt"])
        if attempt["late"] and attempt["state"] == "SUCCESS":
            yield facts.about_attempt("SUCCESS, and refused", attempt["job_id"], attempt["attempt"])


def ends_are_kept(facts: Facts) -> Iterator[Finding]:
    """I5: an attempt is kept as its job's history tells it, as its owner's."""
    for attempt in facts.books.attempts:
        key = (attempt["job_id"], attempt["attempt"])
        rows = [row for row in facts.versions[key[0]] if row["attempt"] == key[1]]
        left = [row for row in rows if row["previous"] in ("ASSIGNED", "RUNNING", "CANCELLING")]
        if attempt["state"] not in {row["state"] for row in left}:
            yield facts.about_attempt(f"is kept as {attempt['state']}, and never was", *key)
        if attempt["session_id"] not in {row["worker"] for row in rows if row["state"] == "ASSIGNED"}:
            owner = facts.runner(attempt["session_id"])
            yield facts.about_attempt(f"is kept as {owner}'s, who did not claim it", *key)


def runs_once(facts: Facts) -> Iterator[Finding]:
    """I6: an attempt is started once at most, and only when it was claimed."""
    for (job_id, attempt), runs in (facts.history.runs or {}).items():
        if len(runs) > 1:
            yield facts.about_attempt(f"is started {len(runs)} times", job_id, attempt)
        if attempt not in {row["attempt"] for row in facts.claims(job_id)}:
            yield facts.about_attempt("ran, and was never claimed", job_id, attempt)


def never_at_once(facts: Facts) -> Iterator[Finding]:
    """I6: a run of an exclusive job begins when nothing is left of the one before.

    One that was killed wrote no end: the next one then says itself whether anything of it was alive.
    """
    runs = [run for found in (facts.history.runs or {}).values() for run in found]
    for job_id, of_job in _by_job(runs).items():
        if not facts.is_exclusive(job_id):
            continue
        for run in of_job:
            if run.overlapped_at is not None:
                yield facts.about_attempt("saw another run of its job alive", job_id, run.attempt)
        for before, after in pairwise(of_job):
            over = before.started_at if before.ended_at is None else before.ended_at
            if after.started_at < over:
                text = f"began {over - after.started_at:.3f} s before #{before.attempt} was over"
                yield facts.about_attempt(text, job_id, after.attempt)


def ran_as_told(facts: Facts) -> Iterator[Finding]:
    """I6: what was accepted of an attempt is what its one run came to."""
    for attempt in facts.books.attempts:
        key = (attempt["job_id"], attempt["attempt"])
        job = facts.jobs.get(key[0])
        if job is None or not facts.leaves_runs(job):
            continue
        runs = facts.runs(*key)
        if attempt["state"] == "SUCCESS" and not any(run.exit_code == 0 for run in runs):
            yield facts.about_attempt(f"SUCCESS, but it {_came_to(runs)}", *key)
        code = attempt["exit_code"]
        if attempt["reason"] == "exit-code" and not any(run.exit_code == code for run in runs):
            yield facts.about_attempt(f"exit-code {code}, but it {_came_to(runs)}", *key)


def tries(facts: Facts) -> Iterator[Finding]:
    """I6: retries by the policy, neither more nor fewer."""
    for job in facts.books.jobs:
        if job["tries"] > 1 + job["retry_max"]:
            yield facts.about(f"{job['tries']} tries, {job['retry_max']} retries allowed", job["id"])
        if job["infra_tries"] > facts.history.terms.policy.max_infra + 1:
            yield facts.about(f"{job['infra_tries']} tries were lost to us", job["id"])
        if job["state"] == "FAILED" and not _gave_up_rightly(facts, job):
            yield facts.about(f"FAILED by {job['reason']} after {job['tries']} tries", job["id"])


def _gave_up_rightly(facts: Facts, job: Row) -> bool:
    policy = facts.history.terms.policy
    reason = job["reason"]
    if reason in ITS_OWN:
        return bool(job["tries"] == 1 + job["retry_max"])
    if reason in OURS:
        return bool(job["infra_tries"] > policy.max_infra)
    if reason == "start-refused":
        return bool(job["unstarted"] >= policy.max_claims)
    return reason in ("queue-timeout", "reused")


def _reports(facts: Facts) -> dict[tuple[str, int], list[dict[str, Any]]]:
    told: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _, value in facts.values(topics.JOBS_REPORTS.name):
        for report in value.get("reports", ()):
            if report.get("kind") == "ended":
                told.setdefault((report["job_id"], report["attempt"]), []).append(report)
    return told


def _by_job(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each job, by attempt."""
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.attempt, run.started_at)):
        found.setdefault(run.job_id, []).append(run)
    return found


def _tells(report: dict[str, Any], attempt: Row) -> bool:
    if report.get("exit_code") != attempt["exit_code"]:
        return False
    return attempt["state"] != "SUCCESS" or bool(report.get("success"))


def _came_to(runs: list[Run]) -> str:
    return f"ended with {[run.exit_code for run in runs]}" if runs else "never ran"


CHECKS: Final = (
    Check("I5", accepted_reports, ("topics",)),
    Check("I5", settled_truly, ("topics",)),
    Check("I5", late_is_nothing),
    Check("I5", ends_are_kept),
    Check("I6", runs_once, ("runs",)),
    Check("I6", never_at_once, ("runs",)),
    Check("I6", ran_as_told, ("runs",)),
    Check("I6", tries),
)
