"""I21: no name is ever held by more than all that hold it bear, and nothing is held for nobody."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Final, NamedTuple

from penstock.core.states import HELD
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, Row, seconds

Name = tuple[str, str, str]
"""Tenant, kind and name."""


class Span(NamedTuple):
    """For so long a job, or the pipeline of a group, holds a name; Unix seconds."""

    begin: float
    end: float
    most: int | None
    job_id: str


def held_by_few(facts: Facts) -> Iterator[Finding]:
    """By the history of jobs: from each claim to the transition that ends its attempt, a group to its end."""
    spans: defaultdict[Name, list[Span]] = defaultdict(list)
    groups: dict[tuple[Name, str], Span] = {}
    for job in facts.books.jobs:
        for name, most in _wishes(job):
            mine = [Span(begin, end, most, job["id"]) for begin, end in _claims(facts, job["id"])]
            if name[1] != "group":
                spans[name] += mine
            elif mine:
                key = name, job["pipeline_id"]
                end = facts.pipelines[job["pipeline_id"]]["finished_at"]
                whole = mine[0]._replace(end=seconds(end) if end else math.inf)
                groups[key] = min(groups.get(key, whole), whole)
    for (name, _), span in groups.items():
        spans[name].append(span)
    yield from _crowds(facts, spans, "holds")


def runs_apart(facts: Facts) -> Iterator[Finding]:
    """By what runs were: no process is alive while another one is that takes its lock for itself.

    One that was killed wrote no end: it counts as over.
    """
    spans: defaultdict[Name, list[Span]] = defaultdict(list)
    for (job_id, _), runs in (facts.history.runs or {}).items():
        for name, most in _wishes(facts.jobs.get(job_id, {})):
            if name[1] == "lock":
                spans[name] += [
                    Span(
                        run.started_at, run.started_at if run.ended_at is None else run.ended_at, most, job_id
                    )
                    for run in runs
                ]
    yield from _crowds(facts, spans, "runs with")


def held_for_somebody(facts: Facts) -> Iterator[Finding]:
    """Rows of holds are of living attempts and unfinished pipelines, and so none is left at rest."""
    living = {row["job_id"] for row in facts.books.leases}
    living |= {row["pipeline_id"] for row in facts.books.open_pipelines}
    for row in facts.books.holds:
        if row["holder"] not in living:
            yield facts.about(f"{row['kind']} {row['name']} is held, and it has ended", row["job_id"])
    for row in facts.books.concurrency_groups:
        if row["pipeline_id"] not in living:
            yield facts.about_pipeline(f"is in group {row['name']}, and has ended", row["pipeline_id"])


def _wishes(job: Row) -> Iterator[tuple[Name, int | None]]:
    for kind, name, most in job.get("holds") or ():
        own = f"{job['pipeline_id']}/{name}" if kind == "matrix" else name
        yield (job["tenant"], kind, own), most


def _claims(facts: Facts, job_id: str) -> Iterator[tuple[float, float]]:
    """When attempts of a job were claimed and ended."""
    begin: float | None = None
    for row in facts.versions[job_id]:
        if row["state"] == "ASSIGNED":
            begin = seconds(row["at"])
        elif begin is not None and row["state"] not in HELD:
            yield begin, seconds(row["at"])
            begin = None
    if begin is not None:
        yield begin, math.inf


def _crowds(facts: Facts, spans: dict[Name, list[Span]], how: str) -> Iterator[Finding]:
    for (_, kind, name), found in spans.items():
        there: list[Span] = []
        for span in sorted(found, key=itemgetter(0, 1)):
            there = [*(one for one in there if one.end > span.begin), span]
            bound = _least(there)
            if len(there) > bound:
                text = f"{how} {kind} {name} as one of {len(there)}, {bound} may"
                yield facts.about(text, span.job_id, *(one.job_id for one in there[:-1]))


def _least(spans: Iterable[Span]) -> float:
    return min((span.most for span in spans if span.most is not None), default=math.inf)


CHECKS: Final = (
    Check("I21", held_by_few),
    Check("I21", held_for_somebody),
    Check("I21", runs_apart, ("runs",)),
)
