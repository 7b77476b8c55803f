"""I9, I10, I19: what the topics hold against what was committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from penstock.events import topics
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, Row, Rows, seconds
from penstock.testing.history.past import Peek

CLOCK_SECONDS: Final = 0.05
"""A poller and Postgres on one machine read its clock so far apart."""
WIPES: Final = "wipe"
"""Kinds of faults in whose name this is lose what Kafka held."""


class Subject(NamedTuple):
    """What a status topic is about."""

    topic: str
    column: str
    rows: Rows
    is_job: bool

    def about(self, facts: Facts, text: str, subject: str) -> Finding:
        """A finding about one of them."""
        return facts.about(text, subject) if self.is_job else facts.about_pipeline(text, subject)


def _subjects(facts: Facts) -> tuple[Subject, ...]:
    return (
        Subject(topics.JOBS_STATUS.name, "job_id", facts.books.job_transitions, is_job=True),
        Subject(topics.PIPELINES_STATUS.name, "pipeline_id", facts.books.pipeline_transitions, is_job=False),
    )


def complete(facts: Facts) -> Iterator[Finding]:
    """I9: the status topics hold every version, and nothing that Postgres does not have."""
    for subject in _subjects(facts):
        written = {(row[subject.column], row["version"], row["state"]) for row in subject.rows}
        told = {
            (value.get(subject.column, ""), value.get("version", 0), value.get("state", ""))
            for _, value in facts.values(subject.topic)
        }
        for of, version, state in sorted(written - told):
            yield subject.about(facts, f"{subject.topic} lacks version {version}, {state}", of)
        for of, version, state in sorted(told - written):
            text = f"{subject.topic} has version {version}, {state}, which is not so"
            yield subject.about(facts, text, of)


def phantoms(facts: Facts) -> Iterator[Finding]:
    """I9: hints name jobs that were QUEUED, orders to stop attempts that were cancelled."""
    for topic in topics.JOBS_READY.values():
        for _, value in facts.values(topic.name):
            for job in value.get("jobs", ()):
                if not any(row["state"] == "QUEUED" for row in facts.versions[job["job_id"]]):
                    yield facts.about(f"{topic.name} has it, and it was never QUEUED", job["job_id"])
    for _, value in facts.values(topics.WORKERS_CONTROL.name):
        for stop in value.get("stop", ()):
            job_id, attempt = stop["job_id"], stop["attempt"]
            rows = [row for row in facts.versions[job_id] if row["attempt"] == attempt]
            cancelled = any(row["state"] == "CANCELLING" for row in rows)
            if stop.get("reason", "cancelled") == "cancelled" and not cancelled:
                yield facts.about_attempt("was ordered to stop, and never CANCELLING", job_id, attempt)


def equal_copies(facts: Facts) -> Iterator[Finding]:
    """I10: every copy of a status record says what its transition says, however often it is published."""
    for subject in _subjects(facts):
        rows = {(row[subject.column], row["version"]): row for row in subject.rows}
        for _, value in facts.values(subject.topic):
            row = rows.get((value.get(subject.column, ""), value.get("version", 0)))
            if row is not None and (wrong := _differs(row, value)):
                text = f"version {row['version']} on {subject.topic}: {wrong}"
                yield subject.about(facts, text, row[subject.column])


def _differs(row: Row, value: dict[str, Any]) -> str:
    for name in ("previous", "reason", "attempt", "tries", "terminal", "exit_code", "worker", "duration_ms"):
        if name in row and name in value and row[name] != value[name]:
            return f"{name} is {value[name]}, was {row[name]}"
    if "at" in value and abs(seconds(value["at"]) - seconds(row["at"])) > 0.000_01:
        return f"at is {value['at']}, was {row['at']}"
    return ""


def peeks_agree(facts: Facts) -> Iterator[Finding]:
    """I10: what one poller sees of a job never goes back, and was so when it saw it."""
    rows = {(row["job_id"], row["version"]): row for row in facts.books.job_transitions}
    rows |= {(row["pipeline_id"], row["version"]): row for row in facts.books.pipeline_transitions}
    last: dict[tuple[str, str], Peek] = {}
    for peek in facts.history.peeks or ():
        before = last.get((peek.poller, peek.subject))
        last[peek.poller, peek.subject] = peek
        row = rows.get((peek.subject, peek.version))
        ids = (peek.subject,) if peek.subject in facts.jobs else ()
        whole = () if ids else (peek.subject,)
        if before is not None and before.version > peek.version:
            text = f"{peek.poller} saw version {before.version} of {peek.subject}, then {peek.version}"
            yield Finding(text, ids, whole)
        if row is None or row["state"] != peek.state:
            text = f"{peek.poller} saw {peek.state} as version {peek.version} of {peek.subject}"
            yield Finding(f"{text}, which never was", ids, whole)
        elif seconds(row["at"]) > peek.at + CLOCK_SECONDS:
            text = f"{peek.poller} saw version {peek.version} of {peek.subject} before it was"
            yield Finding(text, ids, whole)


def dead_letters(facts: Facts) -> Iterator[Finding]:
    """I19: no dead letter but the poison that was given."""
    for topic in topics.TOPICS:
        marks = [poison.mark for poison in facts.history.poison if poison.topic == topic.name]
        for letter in facts.records(topics.dlq_of(topic.name)):
            if not any(mark in letter.value for mark in marks):
                why = letter.headers.get("penstock-dlq-error", letter.headers)
                yield Finding(f"dead letter of {topic.name}: {why}: {letter.value[:200]}")


def poison_is_kept(facts: Facts) -> Iterator[Finding]:
    """I19: poison that Kafka took is among the dead letters, unless these were wiped since."""
    wiped = [fault.end for fault in facts.history.faults or () if WIPES in fault.kind]
    with_letters = {topic.name for topic in topics.TOPICS if topic.dlq}
    for poison in facts.history.poison:
        lost = any(at >= poison.asked_at for at in wiped)
        letters = facts.records(topics.dlq_of(poison.topic))
        if poison.outcome != "ok" or lost or poison.topic not in with_letters:
            continue
        if not any(poison.mark in letter.value for letter in letters):
            yield Finding(f"the poison {poison.mark} of {poison.topic} is no dead letter")


def lag(facts: Facts) -> Iterator[Finding]:
    """I19: at rest everybody has read everything."""
    for group, records in (facts.history.lag or {}).items():
        if records:
            yield Finding(f"{group} lags {records} records behind")


CHECKS: Final = (
    Check("I9", complete, ("topics",)),
    Check("I9", phantoms, ("topics",)),
    Check("I10", equal_copies, ("topics",)),
    Check("I10", peeks_agree, ("peeks",)),
    Check("I19", dead_letters, ("topics",)),
    Check("I19", poison_is_kept, ("topics",)),
    Check("I19", lag, ("lag",)),
)
