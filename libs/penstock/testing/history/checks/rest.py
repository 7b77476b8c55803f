"""I8, I11: at rest nothing waits, and nothing comes of telling everything once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding, is_over, seconds


def leftovers(facts: Facts) -> Iterator[Finding]:
    """Rows of tables that are empty when all is done, and tokens."""
    for table, rows in facts.books.left.items():
        for row in rows:
            job_id, pipeline_id = row.get("job_id"), row.get("pipeline_id")
            if job_id is not None:
                kind = f" ({row['kind']})" if "kind" in row else ""
                yield facts.about(f"has a row left in {table}{kind}", job_id)
            elif pipeline_id is not None:
                yield facts.about_pipeline(f"has a row left in {table}", pipeline_id)
            else:
                yield Finding(f"a row of {row['actor']} of {row['created_at']} is left in {table}")
    for job in facts.books.jobs:
        if is_over(job) and job["token"] is not None:
            yield facts.about("still has a token", job["id"])


def stranded(facts: Facts) -> Iterator[Finding]:
    """States that nobody would drive on: each of them has a row somewhere that a sweep finds."""
    now = seconds(facts.books.read_at)
    queue = {row["job_id"] for row in facts.books.ready}
    leases = {row["job_id"]: row for row in facts.books.leases}
    retries = {row["job_id"] for row in facts.books.timers if row["kind"] == "retry"}
    open_ = {row["pipeline_id"] for row in facts.books.open_pipelines}
    for job in facts.books.jobs:
        job_id, state = job["id"], job["state"]
        if is_over(job):
            continue
        if job["pipeline_id"] not in open_:
            yield facts.about(f"{state}, and its pipeline is not open", job_id)
        if state == "PENDING" and all(
            is_over(facts.jobs[need]) for need in job["needs"] if need in facts.jobs
        ):
            yield facts.about("PENDING, and all its needs have ended", job_id)
        if state == "QUEUED" and job_id not in queue:
            yield facts.about("QUEUED, and not in the queue", job_id)
        if state == "RETRYING" and job_id not in retries:
            yield facts.about("RETRYING, and without a timer", job_id)
        if state in ("ASSIGNED", "RUNNING", "CANCELLING"):
            lease = leases.get(job_id)
            if lease is None:
                yield facts.about(f"{state}, and without a lease", job_id)
            elif seconds(lease["expires_at"]) < now:
                yield facts.about(f"{state}, and its lease is over", job_id)


def requests_wait(facts: Facts) -> Iterator[Finding]:
    """Requests that were received and never applied."""
    for row in facts.books.requests:
        if row["state"] == "RECEIVED":
            yield Finding(f"the request {row['key']} of {row['tenant']} was received and never applied")


def replayed(facts: Facts) -> Iterator[Finding]:
    """I11: a second reading of a topic changed something."""
    for replay in facts.history.replays or ():
        if replay.difference:
            yield Finding(f"reading {replay.topic} once more changed: {replay.difference}")


CHECKS: Final = (
    Check("I8", leftovers),
    Check("I8", stranded),
    Check("I8", requests_wait),
    Check("I11", replayed, ("replays",)),
)
