"""A pipeline as it is known from its status records: records in any order, repeated or not, in; state out.

No input or output, and no clock: the same records give the same view. Drawing is apart (`tree`, `plain`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from penstock.cli.words import natural, timestamp
from penstock.client.records import Job, Status


@dataclasses.dataclass
class JobView:
    """One job. Times are Unix seconds by the server's clock."""

    job_id: str
    name: str
    state: str = ""
    """Empty until its first record."""
    version: int = 0
    terminal: bool = False
    reason: str | None = None
    exit_code: int | None = None
    attempt: int = 0
    at: float = 0.0
    """Of its last transition."""
    running_since: float | None = None
    duration_ms: int | None = None
    stage: str = ""
    level: int = 0
    needs: Sequence[str] = ()
    waiting: str = ""
    """Why it waits, of one that is QUEUED, as the gateway said when it was asked."""
    silent: bool = False
    """Its executor has no output."""

    def seconds(self, now: float) -> float | None:
        """How long its last attempt ran, or runs; None when it never did."""
        if self.duration_ms is not None:
            return self.duration_ms / 1000
        if self.running_since is None:
            return None
        return max(0.0, (self.at if self.terminal else now) - self.running_since)


class Change(NamedTuple):
    """What a record changed: the pipeline, or one job. `first`: nothing was known of it before."""

    state: str
    at: float
    job: JobView | None
    first: bool


class PipelineView:
    """A pipeline and its jobs."""

    def __init__(self, pipeline_id: str) -> None:
        self.pipeline_id = pipeline_id
        self.name = ""
        self.state = ""
        self.version = 0
        self.terminal = False
        self.reason: str | None = None
        self.errors: list[dict[str, Any]] = []
        self.created_at: float | None = None
        self.at = 0.0
        self.jobs: dict[str, JobView] = {}

    def apply(self, record: Status) -> Change | None:
        """Take in a status record; None when one that is as new was seen before."""
        if "job_id" in record:
            return self._apply_to_job(record["job_id"], record)
        at = timestamp(record["at"])
        self.created_at = at if self.created_at is None else min(self.created_at, at)
        if record["version"] <= self.version:
            return None
        first = not self.version
        self.name, self.state, self.version = record["name"], record["state"], record["version"]
        self.terminal, self.reason, self.at = record["terminal"], record["reason"], at
        self.errors = record.get("errors") or self.errors
        return Change(self.state, at, None, first)

    def lay_out(self, jobs: Iterable[Job]) -> None:
        """Where jobs stand among each other: stage, level, what they need. Their states are left alone."""
        for found in jobs:
            job = self._job(found["job_id"], found["name"])
            job.stage, job.level = found["stage"] or "", found.get("level", 0)
            job.needs = found["needs"]
            job.silent = found["executor"] == "noop"

    def show(self, jobs: Iterable[Job]) -> None:
        """Take over the states of jobs as the gateway has them, where that is newer."""
        jobs = list(jobs)
        self.lay_out(jobs)
        for found in jobs:
            job = self.jobs[found["job_id"]]
            if found["version"] > job.version:
                job.state, job.version, job.terminal = found["state"], found["version"], found["terminal"]
                job.reason, job.exit_code, job.attempt = (
                    found["reason"],
                    found["exit_code"],
                    found["attempt"],
                )
                job.at = timestamp(found["changed_at"])
                job.duration_ms = found["duration_ms"] if found["terminal"] else None
                started = found["started_at"]
                job.running_since = timestamp(started) if started else None
                waiting = found.get("waiting")
                job.waiting = waiting["text"] if waiting else ""

    def ordered(self) -> list[JobView]:
        """All jobs: level by level, by name within one."""
        return sorted(self.jobs.values(), key=lambda job: (job.level, natural(job.name)))

    def stages(self) -> list[tuple[str, list[JobView]]]:
        """Jobs by stage, in the order in which stages run; one nameless stage where there are none."""
        found: dict[str, list[JobView]] = {}
        for job in self.ordered():
            found.setdefault(job.stage, []).append(job)
        return list(found.items())

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        found: dict[str, int] = {}
        for job in self.jobs.values():
            found[job.state] = found.get(job.state, 0) + 1
        return found

    def unmet(self, job: JobView) -> list[str]:
        """Names of what a job still waits for."""
        ended = {other.name for other in self.jobs.values() if other.terminal}
        return [name for name in job.needs if name not in ended]

    def seconds(self, now: float) -> float:
        """How long it took, or has taken so far."""
        if self.created_at is None:
            return 0.0
        return max(0.0, (self.at if self.terminal else now) - self.created_at)

    def _apply_to_job(self, job_id: str, record: Status) -> Change | None:
        job = self._job(job_id, record["name"])
        at = timestamp(record["at"])
        attempt = record.get("attempt", 0)
        if record["version"] <= job.version:
            late_start = record["state"] == "RUNNING" and attempt == job.attempt
            if late_start and (job.terminal or job.state == "CANCELLING"):
                job.running_since = at
            return None
        first = not job.version
        if record["state"] == "RUNNING":
            job.running_since = at
        elif not record["terminal"] and record["state"] != "CANCELLING":
            job.running_since = None
        job.state, job.version, job.terminal = record["state"], record["version"], record["terminal"]
        job.reason, job.exit_code = record["reason"], record.get("exit_code")
        job.attempt, job.at = attempt, at
        job.duration_ms = record.get("duration_ms") if record["terminal"] else None
        return Change(job.state, at, job, first)

    def _job(self, job_id: str, name: str) -> JobView:
        job = self.jobs.get(job_id)
        if job is None:
            job = self.jobs[job_id] = JobView(job_id, name)
        return job
