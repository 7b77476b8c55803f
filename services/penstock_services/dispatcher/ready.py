"""The queue in memory: ready jobs by pool, lane and shape, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from datetime import UTC, datetime

from penstock.core.lanes import LANES, Lane
from penstock.events.jobs import ReadyJob

Shape = tuple[str, tuple[str, ...]]
"""What a job asks of a runner: executor and labels. Jobs of a shape fit the same runners, so that only the
oldest of each needs to be looked at."""


def shape_of(job: ReadyJob) -> Shape:
    """The shape of a job."""
    return job.executor, tuple(sorted(job.labels))


class Ready:
    """Ready jobs. Adding a job again changes nothing, so hints and re-reads may overlap."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[Lane, dict[Shape, dict[str, ReadyJob]]]] = {}
        self._jobs: dict[str, ReadyJob] = {}
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._unsorted = False

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, jobs: Iterable[ReadyJob]) -> None:
        """Jobs that became QUEUED; hints come nearly in order, so that sorting is the exception."""
        for job in jobs:
            if job.job_id in self._jobs:
                continue
            self._jobs[job.job_id] = job
            self._unsorted |= job.queued_at < self._newest
            self._newest = max(self._newest, job.queued_at)
            lanes = self._pools.setdefault(job.pool, {lane: {} for lane in LANES})
            lanes[job.lane].setdefault(shape_of(job), {})[job.job_id] = job

    def remove(self, job_ids: Iterable[str]) -> None:
        """Jobs that were claimed, or are no longer QUEUED."""
        for job_id in job_ids:
            job = self._jobs.pop(job_id, None)
            if job is None:
                continue
            shapes = self._pools[job.pool][job.lane]
            shape = shape_of(job)
            del shapes[shape][job_id]
            if not shapes[shape]:
                del shapes[shape]

    def keep(self, job_ids: Set[str]) -> None:
        """Forget all jobs but these."""
        self.remove([job_id for job_id in self._jobs if job_id not in job_ids])

    def pools(self) -> list[str]:
        """Pools for which jobs are ready."""
        return [pool for pool, lanes in self._pools.items() if any(lanes.values())]

    def shapes(self, pool: str, lane: Lane) -> dict[Shape, Iterator[ReadyJob]]:
        """The jobs of a lane by shape, each oldest first."""
        if self._unsorted:
            self._sort()
        found = self._pools.get(pool)
        return {shape: iter(jobs.values()) for shape, jobs in found[lane].items()} if found else {}

    def _sort(self) -> None:
        jobs = sorted(self._jobs.values(), key=_age)
        self._pools.clear()
        self._jobs.clear()
        self._newest = datetime.min.replace(tzinfo=UTC)
        self.add(jobs)
        self._unsorted = False


def _age(job: ReadyJob) -> tuple[datetime, str]:
    return job.queued_at, job.job_id
