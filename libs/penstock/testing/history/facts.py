"""A history in the hands of the checks: the same rows, found by what they belong to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from penstock.core.states import JOB_TERMINAL
from penstock.events import topics
from penstock.testing.history.past import Ask, AttemptKey, Fault, History, Run, TopicRecord

Row = dict[str, Any]
Rows = list[Row]


class Finding(NamedTuple):
    """Something that is not as it should be, in words, and the jobs and pipelines that it is about."""

    text: str
    jobs: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()


class Granted(NamedTuple):
    """One attempt as a grant on Kafka says it."""

    token: str
    session_id: str


class Facts:
    """Indexes over one history. Rows keep the order that they have in the books."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.books = history.books
        self.jobs: dict[str, Row] = {job["id"]: job for job in self.books.jobs}
        self.pipelines: dict[str, Row] = {one["id"]: one for one in self.books.pipelines}
        self.versions = by(self.books.job_transitions, "job_id")
        """Transitions of each job."""
        self.pipeline_versions = by(self.books.pipeline_transitions, "pipeline_id")
        self.attempts = by(self.books.attempts, "job_id")
        self.jobs_of = by(self.books.jobs, "pipeline_id")
        self.attempt: dict[AttemptKey, Row] = {
            (row["job_id"], row["attempt"]): row for row in self.books.attempts
        }

    @cached_property
    def accepted(self) -> dict[tuple[str, str], list[str]]:
        """(tenant, key) -> pipelines that exist under it and were not refused."""
        found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for pipeline in self.books.pipelines:
            if pipeline["state"] != "REJECTED":
                found[pipeline["tenant"], pipeline["request_id"]].append(pipeline["id"])
        return dict(found)

    @cached_property
    def asked(self) -> dict[str, Ask]:
        """Pipeline id -> what was asked for, of those that were accepted as they should."""
        return {
            pipeline_id: ask
            for ask in self.history.asks
            if ask.expect == "accepted"
            for pipeline_id in self.accepted.get((ask.tenant, ask.key), ())
        }

    @cached_property
    def granted(self) -> dict[AttemptKey, set[Granted]]:
        """What the grants on Kafka say of each attempt."""
        found: defaultdict[AttemptKey, set[Granted]] = defaultdict(set)
        for _, value in self.values(topics.WORKERS_GRANTS.name):
            for grant in value.get("grants", ()):
                key = (grant["job_id"], grant["attempt"])
                found[key].add(Granted(grant["token"], value["session_id"]))
        return dict(found)

    @cached_property
    def runner_names(self) -> dict[str, str]:
        """Session id -> name of the runner, without its machine's (`HOST/runner-0`)."""
        return {row["session_id"]: row["name"].rpartition("/")[2] for row in self.books.sessions}

    def runner(self, session_id: str) -> str:
        """Name of the runner whose session this is; of an unknown one the end of its id."""
        return self.runner_names.get(session_id) or session_id[-4:]

    def records(self, topic: str) -> list[TopicRecord]:
        """What a topic held."""
        return (self.history.topics or {}).get(topic, [])

    def values(self, topic: str) -> Iterator[tuple[TopicRecord, dict[str, Any]]]:
        """Records of a topic with their values; what is no JSON object is left out."""
        for record in self.records(topic):
            try:
                value = orjson.loads(record.value)
            except orjson.JSONDecodeError:
                continue
            if isinstance(value, dict):
                yield record, value

    def runs(self, job_id: str, attempt: int) -> list[Run]:
        """Every start of this attempt."""
        return (self.history.runs or {}).get((job_id, attempt), [])

    def claims(self, job_id: str) -> Rows:
        """Transitions to ASSIGNED."""
        return [row for row in self.versions[job_id] if row["state"] == "ASSIGNED"]

    def leaves_runs(self, job: Row) -> bool:
        """Whether the attempts of this job write down that they ran."""
        return bool(job["executor"] != "noop" and job["reason"] != "reused")

    def faults_between(self, begin: float, end: float) -> list[Fault]:
        """Faults that were on at some time between these."""
        return [fault for fault in self.history.faults or () if fault.on <= end and fault.end >= begin]

    def is_exclusive(self, job_id: str) -> bool:
        """Whether no two attempts of this job may run at once: it says so, or it takes a lock."""
        job = self.jobs.get(job_id, {})
        return bool(job.get("exclusive")) or any(kind == "lock" for kind, _, _ in job.get("holds") or ())

    def name(self, job_id: str, attempt: int | None = None) -> str:
        """A job as people know it: `build (1a2b, pipeline 3c4d)`, with `#2` for an attempt of it."""
        job = self.jobs.get(job_id)
        number = "" if attempt is None else f" #{attempt}"
        if job is None:
            return f"{job_id}{number}"
        return f"{job['name']} ({job_id[-4:]}, pipeline {job['pipeline_id'][-4:]}){number}"

    def pipeline_name(self, pipeline_id: str) -> str:
        """`nightly (3c4d)`."""
        pipeline = self.pipelines.get(pipeline_id)
        return f"{pipeline['name']} ({pipeline_id[-4:]})" if pipeline else pipeline_id

    def about(self, text: str, *job_ids: str) -> Finding:
        """A finding about jobs, the first of which is named in front."""
        return Finding(f"{self.name(job_ids[0])}: {text}", job_ids)

    def about_attempt(self, text: str, job_id: str, attempt: int) -> Finding:
        """A finding about an attempt."""
        return Finding(f"{self.name(job_id, attempt)}: {text}", (job_id,))

    def about_pipeline(self, text: str, pipeline_id: str) -> Finding:
        """A finding about a pipeline."""
        return Finding(f"{self.pipeline_name(pipeline_id)}: {text}", (), (pipeline_id,))


def by(rows: Iterable[Row], column: str) -> defaultdict[str, Rows]:
    """Rows by the value of a column."""
    groups: defaultdict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


def seconds(at: str) -> float:
    """A time as Postgres or a record writes it, as Unix seconds."""
    return datetime.fromisoformat(at).timestamp()


def is_over(job: Row) -> bool:
    """Whether a job is terminal."""
    return job["state"] in JOB_TERMINAL
