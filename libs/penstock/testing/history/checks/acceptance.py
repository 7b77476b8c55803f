"""I1, I2, I18: what clients asked for against what there is, in the classes of a queue: lost, duplicated,
unexpected, recovered (nobody knew, and it is there; that is legal).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from penstock.testing.history import oracle
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, is_over


def lost(facts: Facts) -> Iterator[Finding]:
    """What was answered ok and is not there, or not with all its jobs."""
    for ask in facts.history.asks:
        name = ask.definition.get("name", "?")
        ids = facts.accepted.get((ask.tenant, ask.key), [])
        if ask.expect == "accepted" and ask.outcome == "ok" and not ids:
            yield Finding(f"lost: {name} ({ask.key}) was asked for over {ask.door} and exists 0 times")
    for pipeline_id, ask in facts.asked.items():
        names = sorted(job["name"] for job in facts.jobs_of[pipeline_id])
        if names != sorted(oracle.expanded(ask.definition)):
            yield facts.about_pipeline(f"has the jobs {names}", pipeline_id)


def unfinished(facts: Facts) -> Iterator[Finding]:
    """What was accepted and has not ended."""
    for job in facts.books.jobs:
        if not is_over(job):
            yield facts.about(f"is {job['state']}, and nothing more happens", job["id"])
    for pipeline in facts.books.pipelines:
        if pipeline["finished_at"] is None:
            yield facts.about_pipeline(f"is {pipeline['state']}, and nothing more happens", pipeline["id"])
    if facts.history.rested_at is None:
        yield Finding("it did not come to rest")


def duplicated(facts: Facts) -> Iterator[Finding]:
    """More than one pipeline under a key, or an answer or the key itself that names another one."""
    for (_, key), ids in facts.accepted.items():
        if len(ids) > 1:
            yield Finding(f"duplicated: {key} exists {len(ids)} times", (), tuple(ids))
    for ask in facts.history.asks:
        ids = facts.accepted.get((ask.tenant, ask.key), [])
        if ask.expect == "accepted" and ids and (others := sorted(set(ask.pipeline_ids) - set(ids))):
            yield Finding(f"{ask.key} is {ids[0]}, a client was told {others}", (), tuple(ids))
    for row in facts.books.requests:
        ids = facts.accepted.get((row["tenant"], row["key"]), [])
        if row["state"] == "ACCEPTED" and row["pipeline_id"] not in ids:
            yield Finding(f"{row['key']} means {row['pipeline_id']}, and is {ids}", (), tuple(ids))


def unexpected(facts: Facts) -> Iterator[Finding]:
    """What nobody asked for, what was certainly not done and is there, and refusals without a cause."""
    asks = defaultdict(list)
    for ask in facts.history.asks:
        asks[ask.tenant, ask.key].append(ask)
    for (tenant, key), ids in facts.accepted.items():
        right = [ask for ask in asks[tenant, key] if ask.expect == "accepted"]
        if not right:
            yield Finding(f"unexpected: nobody asked for {key} of {tenant}: {ids}", (), tuple(ids))
        elif all(ask.outcome == "fail" for ask in right):
            yield Finding(f"unexpected: {key} was refused, and is there: {ids}", (), tuple(ids))
    refused = Counter(
        (one["tenant"], one["request_id"]) for one in facts.books.pipelines if one["state"] == "REJECTED"
    )
    for (tenant, key), count in refused.items():
        wrong = sum(ask.expect != "accepted" for ask in asks[tenant, key])
        if count > wrong:
            yield Finding(f"{key} was refused {count} times, {wrong} of its requests were wrong")


def conserved(facts: Facts) -> Iterator[Finding]:
    """I18: at every moment jobs by state make up all jobs, and every version has its transition."""
    for sample in facts.history.samples or ():
        census = sample.census
        there = sum(census.jobs.values())
        alive = sum(count for state, count in census.jobs.items() if not is_over({"state": state}))
        if there != census.accepted:
            yield Finding(f"at {sample.at:.3f} there are {there} jobs, {census.accepted} were accepted")
        if census.versions != census.transitions:
            yield Finding(
                f"at {sample.at:.3f} the versions add up to {census.versions},"
                f" the transitions to {census.transitions}"
            )
        if alive != census.open:
            yield Finding(
                f"at {sample.at:.3f} {alive} jobs are not over, their pipelines count {census.open}"
            )


def counted(facts: Facts) -> Iterator[Finding]:
    """I18: what a pipeline that is over says of its jobs is so."""
    for pipeline in facts.books.pipelines:
        if pipeline["finished_at"] is None or pipeline["state"] == "REJECTED":
            continue
        counts = Counter(job["state"] for job in facts.jobs_of[pipeline["id"]])
        said = {state: count for state, count in pipeline["counts"].items() if count}
        if said != dict(counts):
            yield facts.about_pipeline(f"says {said} of its jobs, which are {dict(counts)}", pipeline["id"])


CHECKS: Final = (
    Check("I1", lost),
    Check("I1", unfinished),
    Check("I2", duplicated),
    Check("I2", unexpected),
    Check("I18", conserved, ("samples",)),
    Check("I18", counted),
)
