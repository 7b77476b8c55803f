"""I3, I4: the life of every job and pipeline by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from penstock.core.states import HELD, JOB_TRANSITIONS, PIPELINE_TRANSITIONS
from penstock.testing.history import oracle
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, is_over


def moves(facts: Facts) -> Iterator[Finding]:
    """Versions 1..n, legal moves, an end; the row is where its history ends."""
    for job in facts.books.jobs:
        rows = facts.versions[job["id"]]
        if wrong := oracle.chain(((r["version"], r["previous"], r["state"]) for r in rows), JOB_TRANSITIONS):
            yield facts.about(wrong, job["id"])
        elif (rows[-1]["version"], rows[-1]["state"]) != (job["version"], job["state"]):
            text = f"is {job['state']} v{job['version']}, its history ends in {rows[-1]['state']}"
            yield facts.about(f"{text} v{rows[-1]['version']}", job["id"])
    for pipeline in facts.books.pipelines:
        rows = facts.pipeline_versions[pipeline["id"]]
        records = ((r["version"], r["previous"], r["state"]) for r in rows)
        if wrong := oracle.chain(records, PIPELINE_TRANSITIONS):
            yield facts.about_pipeline(wrong, pipeline["id"])
        elif (rows[-1]["version"], rows[-1]["state"]) != (pipeline["version"], pipeline["state"]):
            text = f"is {pipeline['state']}, its history ends in {rows[-1]['state']}"
            yield facts.about_pipeline(text, pipeline["id"])


def orphans(facts: Facts) -> Iterator[Finding]:
    """Transitions and attempts of what is not there."""
    for job_id in (facts.versions.keys() | facts.attempts.keys()) - facts.jobs.keys():
        if facts.versions[job_id] or facts.attempts[job_id]:
            yield Finding(f"job {job_id} has a history and no row")
    for pipeline_id in facts.pipeline_versions.keys() - facts.pipelines.keys():
        if facts.pipeline_versions[pipeline_id]:
            yield Finding(f"pipeline {pipeline_id} has a history and no row")


def claims(facts: Facts) -> Iterator[Finding]:
    """One claim an attempt, 1..n; one end a claim; between two claims the first is over."""
    for job in facts.books.jobs:
        claimed = [row["attempt"] for row in facts.claims(job["id"])]
        if job["reason"] == "reused":
            continue
        if claimed != list(range(1, job["attempt"] + 1)):
            yield facts.about(f"claims {claimed}, attempt {job['attempt']}", job["id"])
        ends = [row["attempt"] for row in facts.attempts[job["id"]]]
        if is_over(job) and ends != claimed:
            yield facts.about(f"claims {claimed}, ends of {ends}", job["id"])
        for row in facts.versions[job["id"]]:
            if row["state"] in HELD and row["attempt"] not in claimed:
                yield facts.about(f"is {row['state']} in attempt {row['attempt']}", job["id"])


def owners(facts: Facts) -> Iterator[Finding]:
    """By the grants on Kafka: one token and one session an attempt, no token twice, all of them claimed."""
    used: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for (job_id, attempt), grants in facts.granted.items():
        for grant in grants:
            used[grant.token].add((job_id, attempt))
        if len(grants) > 1:
            yield facts.about_attempt(f"was granted as {sorted(grants)}", job_id, attempt)
        claim = next((row for row in facts.claims(job_id) if row["attempt"] == attempt), None)
        if claim is None:
            yield facts.about_attempt("was granted and never claimed", job_id, attempt)
        elif claim["worker"] not in {grant.session_id for grant in grants}:
            yield facts.about_attempt("was granted to another session than claimed for", job_id, attempt)
    for token, keys in used.items():
        if len(keys) > 1:
            yield Finding(f"the token {token} was given {len(keys)} times", tuple(key[0] for key in keys))


CHECKS: Final = (
    Check("I3", moves),
    Check("I3", orphans),
    Check("I4", claims),
    Check("I4", owners, ("topics",)),
)
