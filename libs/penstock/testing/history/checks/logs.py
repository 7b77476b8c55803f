"""I14: logs. What a job prints names itself, so that a line under the wrong attempt is seen.

A line of a job that takes part is `JOB_ID:ATTEMPT:STREAM:NUMBER`, numbers from 1 for each stream.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from penstock.events import topics
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, by
from penstock.testing.history.past import AttemptKey, Log, LogLine

MARK: Final = re.compile(r"(?P<job>[0-9a-f-]{36}):(?P<attempt>\d+):(?P<stream>stdout|stderr):(?P<n>\d+)")


def mark(job_id: str, attempt: int, stream: str, number: int) -> str:
    """A line that names itself."""
    return f"{job_id}:{attempt}:{stream}:{number}"


def whole(facts: Facts) -> Iterator[Finding]:
    """Lines 1..n, each once and in order, none missing, and an end; an attempt that was claimed."""
    for (job_id, attempt), log in (facts.history.logs or {}).items():
        if attempt not in {row["attempt"] for row in facts.claims(job_id)}:
            yield facts.about_attempt("has a log, and was never claimed", job_id, attempt)
        numbers = [line.seq for line in log.lines]
        if numbers != list(range(1, len(numbers) + 1)):
            yield facts.about_attempt(f"its log is out of order: {_first_wrong(numbers)}", job_id, attempt)
        if not log.ended:
            yield facts.about_attempt("its log has no end", job_id, attempt)
        if log.missing and not _gave_up(facts, job_id, attempt):
            yield facts.about_attempt(f"{log.missing} lines of its log are missing", job_id, attempt)


def own_lines(facts: Facts) -> Iterator[Finding]:
    """Lines that name themselves are in the log of their attempt, in the order of their stream."""
    for (job_id, attempt), log in (facts.history.logs or {}).items():
        last: Counter[str] = Counter()
        for line, found in _marked(log):
            if (found["job"], int(found["attempt"]), found["stream"]) != (job_id, attempt, line.stream):
                yield facts.about_attempt(f"line {line.seq} of its log is {line.text!r}", job_id, attempt)
                break
            last[line.stream] += 1
            if int(found["n"]) != last[line.stream]:
                text = f"line {line.seq} of its log is {line.stream} {found['n']}, not {last[line.stream]}"
                yield facts.about_attempt(text, job_id, attempt)
                break


def all_lines(facts: Facts) -> Iterator[Finding]:
    """What an attempt says that it printed is stored, when its end was accepted."""
    for (job_id, attempt), runs in (facts.history.runs or {}).items():
        row = facts.attempt.get((job_id, attempt))
        printed = sum(run.lines or 0 for run in runs)
        if row is None or not row["reported"] or not printed:
            continue
        log = (facts.history.logs or {}).get((job_id, attempt))
        stored = sum(1 for _ in _marked(log)) if log else 0
        if stored != printed:
            yield facts.about_attempt(f"printed {printed} lines, {stored} are stored", job_id, attempt)


def index(facts: Facts) -> Iterator[Finding]:
    """Chunks of an attempt are end to end, and as many lines as its head says."""
    chunks = by(facts.books.log_chunks, "job_id")
    for head in facts.books.log_heads:
        key = (head["job_id"], head["attempt"])
        rows = [row for row in chunks[key[0]] if row["attempt"] == key[1]]
        behind = 0
        for row in rows:
            if row["first_seq"] <= behind:
                yield facts.about_attempt(f"line {row['first_seq']} of its log is stored twice", *key)
            behind = row["last_seq"]
        lines = sum(row["last_seq"] - row["first_seq"] + 1 for row in rows)
        if lines != head["lines"] or behind != head["last_seq"]:
            text = f"its log has {lines} lines up to {behind}, its head says {head['lines']}"
            yield facts.about_attempt(f"{text} up to {head['last_seq']}", *key)


def acked_lines(facts: Facts) -> Iterator[Finding]:
    """What a runner was told is stored, so that it frees its spool, is stored."""
    stored: defaultdict[AttemptKey, int] = defaultdict(int)
    for row in facts.books.log_chunks:
        key = (row["job_id"], row["attempt"])
        if row["first_seq"] == stored[key] + 1:
            stored[key] = row["last_seq"]
    for _, value in facts.values(topics.WORKERS_CONTROL.name):
        for job_id, attempt, seq in value.get("stored", ()):
            if seq > stored[job_id, attempt]:
                text = f"its runner was told that {seq} lines are stored, {stored[job_id, attempt]} are"
                yield facts.about_attempt(text, job_id, attempt)


def _gave_up(facts: Facts, job_id: str, attempt: int) -> bool:
    """Whether it ended because its runner had not what it needs, to keep lines for one: it says so itself."""
    row = facts.attempt.get((job_id, attempt))
    return row is not None and row["reason"] == "infra-error"


def _marked(log: Log) -> Iterator[tuple[LogLine, re.Match[str]]]:
    for line in log.lines:
        if found := MARK.fullmatch(line.text):
            yield line, found


def _first_wrong(numbers: list[int]) -> str:
    for expected, number in enumerate(numbers, 1):
        if number != expected:
            return f"line {expected} is {number}"
    return ""


CHECKS: Final = (
    Check("I14", whole, ("logs",)),
    Check("I14", own_lines, ("logs",)),
    Check("I14", all_lines, ("logs", "runs")),
    Check("I14", index),
    Check("I14", acked_lines, ("topics",)),
)
