"""I7, I12: jobs among each other, and cancels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.testing.history import oracle
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, Row, seconds

RACE_SECONDS: Final = 2.0
"""Two transactions that wait for each other's rows are done within this."""


def order(facts: Facts) -> Iterator[Finding]:
    """I7: in the order of commits no claim before the end of all needs."""
    for job in facts.books.jobs:
        claims = facts.claims(job["id"])
        for need in job["needs"] if claims else ():
            ends = facts.versions[need]
            if not ends or claims[0]["committed"] < ends[-1]["committed"]:
                text = f"was claimed before {facts.name(need)} had ended"
                yield facts.about(text, job["id"], need)


def processes_in_order(facts: Facts) -> Iterator[Finding]:
    """I7: no process before those whose success it needs have ended."""
    for job in facts.books.jobs:
        begun = [
            run.started_at for row in facts.claims(job["id"]) for run in facts.runs(job["id"], row["attempt"])
        ]
        for need in job["needs"] if begun else ():
            parent = facts.jobs.get(need)
            if parent is None or parent["state"] != "SUCCESS":
                continue
            ended = [run.ended_at for run in facts.runs(need, parent["attempt"]) if run.ended_at is not None]
            if ended and min(begun) < min(ended):
                yield facts.about(f"started before {facts.name(need)} had ended", job["id"], need)


def queued_once(facts: Facts) -> Iterator[Finding]:
    """I7: a job waits for its needs once."""
    for job_id, rows in facts.versions.items():
        if sum(row["previous"] in ("PENDING", "WAITING") and row["state"] == "QUEUED" for row in rows) > 1:
            yield facts.about("was set free by its needs more than once", job_id)


def ends(facts: Facts) -> Iterator[Finding]:
    """I7: final states are what the definition makes of them; only what was cancelled is CANCELLED."""
    for pipeline_id, ask in facts.asked.items():
        jobs = oracle.expanded(ask.definition)
        rows = {job["name"]: job for job in facts.jobs_of[pipeline_id]}
        if rows.keys() != jobs.keys():
            continue  # told by I1
        came_to = {name: (job["state"], job["reason"]) for name, job in rows.items()}
        for name, job in rows.items():
            if job["reason"] == "reused":
                continue
            needs = [rows[need]["id"] for need in jobs[name].get("needs", ())]
            fate = oracle.fate(jobs[name], jobs, came_to)
            if job["state"] == "CANCELLED":
                if not _was_cancelled(facts, job) and not _by_a_rule(facts, job):
                    yield facts.about("CANCELLED, which nobody asked for", job["id"])
            elif fate != "runs" and (job["state"], job["reason"]) != ("SKIPPED", fate):
                text = f"{job['state']} {job['reason']}, should be SKIPPED {fate}"
                yield facts.about(text, job["id"], *needs)
            elif fate == "runs" and job["state"] == "SKIPPED":
                yield facts.about("SKIPPED, should run", job["id"], *needs)
        pipeline = facts.pipelines[pipeline_id]
        state = oracle.pipeline_state(
            jobs, came_to, cancelled=pipeline["reason"] in ("cancelled", "superseded")
        )
        if pipeline["state"] != state:
            yield facts.about_pipeline(f"{pipeline['state']}, should be {state}", pipeline_id)


def cancelled_stays(facts: Facts) -> Iterator[Finding]:
    """I12: what was cancelled, a job or a pipeline, is claimed no more."""
    for pipeline_id, rows in facts.pipeline_versions.items():
        begun = [row for row in rows if row["state"] == "CANCELLING"]
        for job in facts.jobs_of[pipeline_id] if begun else ():
            if _claimed_after(facts, job["id"], begun[0]):
                yield Finding(
                    f"{facts.name(job['id'])} was claimed after its pipeline was cancelled",
                    (job["id"],),
                    (pipeline_id,),
                )
    for job_id, rows in facts.versions.items():
        states = [row["state"] for row in rows]
        if "CANCELLING" in states and states[-1] not in ("CANCELLING", "CANCELLED"):
            yield facts.about(f"was CANCELLING and is {states[-1]}", job_id)


def cancels_apply(facts: Facts) -> Iterator[Finding]:
    """I12: every cancel that was kept is applied; one that was answered ok over HTTP is kept."""
    for wish in facts.books.cancels:
        if wish["applied_at"] is None and wish["pipeline_id"] in facts.pipelines:
            yield facts.about_pipeline("its cancel was never applied", wish["pipeline_id"])
    kept = {(wish["pipeline_id"], wish["job_id"]) for wish in facts.books.cancels}
    for asked in facts.history.wishes:
        promised = asked.door == "http" and asked.outcome == "ok"
        if promised and (asked.pipeline_id, asked.job_id) not in kept:
            of = facts.name(asked.job_id) if asked.job_id else facts.pipeline_name(asked.pipeline_id)
            yield Finding(f"the cancel of {of} was accepted and is lost", (), (asked.pipeline_id,))


def survivors(facts: Facts) -> Iterator[Finding]:
    """I12: no process of an attempt outlives it."""
    for one in facts.history.survivors or ():
        yield facts.about_attempt(f"process {one.pid} lives on: {one.command}", one.job_id, one.attempt)


def _claimed_after(facts: Facts, job_id: str, cancel: Row) -> bool:
    """The cancel of a pipeline changes all its jobs that are not over in its own transaction.

    Of a job that it found to be over nothing orders the two exactly: either may have waited for the other.
    """
    own = [row["version"] for row in facts.versions[job_id] if row["committed"] == cancel["committed"]]
    if own:
        return any(row["version"] > own[0] for row in facts.claims(job_id))
    return any(
        row["committed"] > cancel["committed"] and seconds(row["at"]) > seconds(cancel["at"]) + RACE_SECONDS
        for row in facts.claims(job_id)
    )


def _by_a_rule(facts: Facts, job: Row) -> bool:
    """Whether its matrix or its pipeline's group asked for it."""
    return any(
        cancel.get("cause", "cancelled") == job["reason"] != "cancelled"
        and cancel["pipeline_id"] == job["pipeline_id"]
        and cancel["job_id"] in (None, job["id"])
        for cancel in facts.books.cancels
    )


def _was_cancelled(facts: Facts, job: Row) -> bool:
    return any(
        wish.pipeline_id == job["pipeline_id"] and wish.job_id in (None, job["id"]) and wish.outcome != "fail"
        for wish in facts.history.wishes
    )


CHECKS: Final = (
    Check("I7", order),
    Check("I7", processes_in_order, ("runs",)),
    Check("I7", queued_once),
    Check("I7", ends),
    Check("I12", cancelled_stays),
    Check("I12", cancels_apply),
    Check("I12", survivors, ("survivors",)),
)
