"""I16: everything belongs to the tenant that asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from penstock.events import topics
from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding


def rows(facts: Facts) -> Iterator[Finding]:
    """Jobs, their transitions and cancels have the tenant of their pipeline, and that the one who asked."""
    owner = {pipeline_id: pipeline["tenant"] for pipeline_id, pipeline in facts.pipelines.items()}
    owns = {job["id"]: owner.get(job["pipeline_id"], "") for job in facts.books.jobs}
    for ask in facts.history.asks:
        for pipeline_id in ask.pipeline_ids:
            if owner.get(pipeline_id, ask.tenant) != ask.tenant:
                text = f"is {owner[pipeline_id]}'s, and {ask.tenant} was told of it"
                yield facts.about_pipeline(text, pipeline_id)
    for job in facts.books.jobs:
        if job["tenant"] != owns[job["id"]]:
            yield facts.about(f"is {job['tenant']}'s, its pipeline {owns[job['id']]}'s", job["id"])
    for row in facts.books.job_transitions:
        if row["tenant"] != owns.get(row["job_id"], row["tenant"]):
            yield facts.about(f"version {row['version']} is {row['tenant']}'s", row["job_id"])
    for wish in facts.books.cancels:
        if wish["tenant"] != owner.get(wish["pipeline_id"], wish["tenant"]):
            yield facts.about_pipeline(f"was cancelled by {wish['tenant']}", wish["pipeline_id"])


def logs(facts: Facts) -> Iterator[Finding]:
    """Logs are their job's tenant's, and their objects lie under its name."""
    for head in facts.books.log_heads:
        job = facts.jobs.get(head["job_id"])
        if job is not None and head["tenant"] != job["tenant"]:
            yield facts.about_attempt(f"its log is {head['tenant']}'s", head["job_id"], head["attempt"])
    for chunk in facts.books.log_chunks:
        job = facts.jobs.get(chunk["job_id"])
        if job is not None and not chunk["object_key"].startswith(f"logs/{job['tenant']}/"):
            text = f"its log lies at {chunk['object_key']}"
            yield facts.about_attempt(text, chunk["job_id"], chunk["attempt"])


def records(facts: Facts) -> Iterator[Finding]:
    """What is public and grants name the tenant; what is public is keyed by its pipeline."""
    for topic in (topics.JOBS_STATUS.name, topics.PIPELINES_STATUS.name, topics.JOBS_WAITING.name):
        for record, value in facts.values(topic):
            pipeline_id = value.get("pipeline_id", "")
            yield from _named(facts, topic, value)
            if record.key != pipeline_id:
                yield facts.about_pipeline(f"a record of {topic} has the key {record.key}", pipeline_id)
    for _, value in facts.values(topics.WORKERS_GRANTS.name):
        for grant in value.get("grants", ()):
            yield from _named(facts, topics.WORKERS_GRANTS.name, grant)


def _named(facts: Facts, topic: str, value: dict[str, Any]) -> Iterator[Finding]:
    pipeline_id = value.get("pipeline_id", "")
    pipeline = facts.pipelines.get(pipeline_id)
    if pipeline is not None and value.get("tenant") != pipeline["tenant"]:
        yield facts.about_pipeline(f"a record of {topic} is {value.get('tenant')}'s", pipeline_id)


CHECKS: Final = (
    Check("I16", rows),
    Check("I16", logs),
    Check("I16", records, ("topics",)),
)
