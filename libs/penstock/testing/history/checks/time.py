"""I13, and the liveness of I1: leases by the database's clock, and how soon all is well again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, Row, seconds
from penstock.testing.history.past import Fault

TAKEN: Final = frozenset(("worker-lost", "start-timeout"))
"""Reasons by which a lease ends that nobody ended."""
SILENT: Final = ("kill", "asleep")
"""Kinds of faults in whose name one of these is end the heartbeats of their target at once."""
RUN_SECONDS: Final = 3600.0
"""The timeout of a job that names none."""
GRACE_SECONDS: Final = 30.0
"""The grace of such a job."""


def recovers(facts: Facts) -> Iterator[Finding]:
    """I1: so soon after the last fault every job has ended."""
    healed = facts.history.healed_at
    last = max((row for row in facts.books.job_transitions if row["terminal"]), key=_at, default=None)
    if not healed or last is None:
        return
    took = _at(last) - healed
    if took > facts.history.terms.recover_seconds:
        text = (
            f"ended {took:.1f} s after the last fault, {facts.history.terms.recover_seconds:g} s are allowed"
        )
        yield facts.about(text, last["job_id"])


def peace(facts: Facts) -> Iterator[Finding]:
    """I13: once nothing fails any more, the lease of a runner that is alive and heard does not end."""
    if not facts.history.healed_at:
        return
    for row in _robbed(facts):
        if _at(row) > facts.history.healed_at + _peace(facts, row):
            yield facts.about(f"{row['reason']} when nothing fails", row["job_id"])


def causes(facts: Facts) -> Iterator[Finding]:
    """I13: before every attempt that is taken back something was broken that may cost a lease."""
    terms = facts.history.terms
    for row in _robbed(facts):
        around = facts.faults_between(_at(row) - _peace(facts, row), _at(row))
        if not around:
            yield facts.about(f"{row['reason']}, and nothing was broken", row["job_id"])
        elif all(fault.kind in terms.spared for fault in around):
            kinds = sorted({fault.kind for fault in around})
            yield facts.about(f"{row['reason']}, and all that was broken is {kinds}", row["job_id"])


def dead_in_time(facts: Facts) -> Iterator[Finding]:
    """I13: what a dead runner held is given back by its lease, where nothing else was broken meanwhile."""
    terms = facts.history.terms
    for fault, row in given_back(facts):
        limit = _lease(facts, row["job_id"]) + terms.scan_seconds + terms.late_seconds
        others = [
            other
            for other in facts.faults_between(fault.on - _peace(facts, row), _at(row))
            if other is not fault
        ]
        silent = any(word in fault.kind for word in SILENT)
        if silent and not others and _at(row) - fault.on > limit:
            text = f"{row['reason']} {_at(row) - fault.on:.1f} s after its runner fell silent"
            yield facts.about(f"{text}, {limit:g} s are allowed", row["job_id"])


def given_back(facts: Facts) -> Iterator[tuple[Fault, Row]]:
    """Faults of single runners, with each transition by which what it held was taken back."""
    faults = facts.history.faults or ()
    for row in _taken(facts):
        claim = _claim_of(facts, row)
        name = facts.runner(claim["worker"]) if claim else ""
        begin = _at(claim) if claim else 0.0
        own = [fault for fault in faults if fault.target == name and begin <= fault.on <= _at(row)]
        if own:
            yield own[0], row


def bounded(facts: Facts) -> Iterator[Finding]:
    """I13: no attempt runs much longer than its timeout."""
    terms = facts.history.terms
    for attempt in facts.books.attempts:
        job = facts.jobs.get(attempt["job_id"])
        if job is None or attempt["started_at"] is None:
            continue
        begin, end = seconds(attempt["started_at"]), seconds(attempt["ended_at"])
        broken = sum(min(end, fault.end) - max(begin, fault.on) for fault in facts.faults_between(begin, end))
        allowed = (
            (job["timeout"] or RUN_SECONDS) + (job["grace"] or GRACE_SECONDS) + terms.peace_seconds + broken
        )
        if end - begin > allowed:
            text = f"ran {end - begin:.1f} s, its timeout is {job['timeout']} s"
            yield facts.about_attempt(text, job["id"], attempt["attempt"])


def _taken(facts: Facts) -> list[Row]:
    return [
        row for row in facts.books.job_transitions if row["reason"] in TAKEN and row["previous"] != "QUEUED"
    ]


def _robbed(facts: Facts) -> list[Row]:
    """Where an attempt was taken back that had begun.

    One that nobody started in time costs nothing but its claim, and may be the fault of a busy machine; where
    time is virtual there is none.
    """
    return [
        row
        for row in _taken(facts)
        if row["reason"] == "worker-lost"
        or facts.history.terms.virtual
        or any(run.started_at < _at(row) for run in facts.runs(row["job_id"], row["attempt"]))
    ]


def _lease(facts: Facts, job_id: str) -> float:
    """So long after its runner fell silent the lease of a job ends."""
    terms = facts.history.terms
    if not facts.is_exclusive(job_id):
        return terms.ttl_seconds
    return terms.exclusive_seconds + (facts.jobs[job_id]["grace"] or GRACE_SECONDS)


def _peace(facts: Facts, row: Row) -> float:
    """So long after its end a fault may still have cost this attempt its lease."""
    terms = facts.history.terms
    return terms.peace_seconds + _lease(facts, row["job_id"]) - terms.ttl_seconds


def _claim_of(facts: Facts, row: Row) -> Row | None:
    return next((one for one in facts.claims(row["job_id"]) if one["attempt"] == row["attempt"]), None)


def _at(row: Row) -> float:
    return seconds(row["at"])


CHECKS: Final = (
    Check("I1", recovers),
    Check("I13", peace),
    Check("I13", causes, ("faults",)),
    Check("I13", dead_in_time, ("faults",)),
    Check("I13", bounded),
)
