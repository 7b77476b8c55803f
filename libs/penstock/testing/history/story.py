"""What happened to the jobs of a finding, and what was broken around it, in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from penstock.testing.history.facts import Facts, Finding, seconds
from penstock.testing.history.past import Run

MARGIN_SECONDS: Final = 5.0
"""Faults that ended so shortly before the first moment of the story belong to it."""
MOST_LINES: Final = 60


class Line(NamedTuple):
    """One moment."""

    at: float
    who: str
    what: str


def story(facts: Facts, finding: Finding) -> list[str]:
    """Lines of `seconds since the run began, who, what`; empty when the finding names no job or pipeline."""
    lines = [line for job_id in finding.jobs for line in _of_job(facts, job_id)]
    lines += [line for one in finding.pipelines for line in _of_pipeline(facts, one)]
    if not lines:
        return []
    begin, end = min(line.at for line in lines), max(line.at for line in lines)
    lines += _faults(facts, begin - MARGIN_SECONDS, end)
    lines.sort(key=lambda line: line.at)
    zero = facts.history.began_at or begin
    told = [f"{line.at - zero:9.3f}  {line.who:<16} {line.what}" for line in lines]
    if len(told) > MOST_LINES:
        middle = MOST_LINES // 2
        told[middle:-middle] = [f"           … {len(told) - 2 * middle} lines …"]
    return told


def _of_job(facts: Facts, job_id: str) -> Iterator[Line]:
    name = facts.name(job_id).partition(" (")[0]
    for row in facts.versions[job_id]:
        said = [f"{name} v{row['version']} {row['previous'] or 'new'} -> {row['state']}"]
        if row["attempt"]:
            said.append(f"#{row['attempt']}")
        said += [str(row[column]) for column in ("reason",) if row[column]]
        if row["exit_code"] is not None:
            said.append(f"exit {row['exit_code']}")
        if row["worker"] and row["state"] == "ASSIGNED":
            said.append(f"to {facts.runner(row['worker'])}")
        yield Line(seconds(row["at"]), row["actor"], " ".join(said))
    for row in facts.attempts[job_id]:
        if row["late"]:
            what = f"{name} #{row['attempt']} told too late: {row['late']}"
            yield Line(seconds(row["late_at"]), facts.runner(row["session_id"]), what)
    for attempt in {row["attempt"] for row in facts.claims(job_id)}:
        yield from _of_runs(f"{name} #{attempt}", facts.runs(job_id, attempt))


def _of_runs(name: str, runs: Iterable[Run]) -> Iterator[Line]:
    for run in runs:
        yield Line(run.started_at, "process", f"{name} starts")
        if run.overlapped_at is not None:
            yield Line(run.overlapped_at, "process", f"{name} is not alone")
        if run.ended_at is not None:
            how = "is killed" if run.exit_code is None else f"ends with {run.exit_code}"
            yield Line(run.ended_at, "process", f"{name} {how}")


def _of_pipeline(facts: Facts, pipeline_id: str) -> Iterator[Line]:
    ask = facts.asked.get(pipeline_id)
    name = facts.pipeline_name(pipeline_id)
    if ask is not None:
        yield Line(ask.asked_at, "client", f"asks for {name} over {ask.door}")
        if ask.answered_at is not None:
            yield Line(ask.answered_at, "client", f"is told {ask.outcome} {ask.note}".rstrip())
    for row in facts.pipeline_versions[pipeline_id]:
        reason = f" {row['reason']}" if row["reason"] else ""
        what = f"{name} v{row['version']} {row['previous'] or 'new'} -> {row['state']}{reason}"
        yield Line(seconds(row["at"]), row["actor"], what)
    for wish in facts.history.wishes:
        if wish.pipeline_id == pipeline_id:
            of = facts.name(wish.job_id) if wish.job_id else name
            yield Line(wish.asked_at, "client", f"cancels {of} over {wish.door}: {wish.outcome}")


def _faults(facts: Facts, begin: float, end: float) -> Iterator[Line]:
    for fault in facts.faults_between(begin, end):
        what = f"{fault.kind} {fault.target} {fault.note}".rstrip()
        if fault.off is not None and fault.off - fault.on < 0.001:
            yield Line(fault.on, "nemesis", f"{what} (bit {fault.bit})")
            continue
        yield Line(fault.on, "nemesis", f"{what} begins")
        if fault.off is not None and fault.off <= end:
            yield Line(fault.off, "nemesis", f"{what} ends (bit {fault.bit})")
