"""A line of waiting jobs, oldest first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import datetime

from penstock.events.jobs import ReadyJob

SLACK = 64
"""So many jobs that have left may stay, beyond as many as still wait."""


def age_of(job: ReadyJob) -> tuple[datetime, str]:
    """What jobs are sorted by."""
    return job.queued_at, job.job_id


class Line:
    """Jobs come nearly in order of age and mostly leave at the head, so that a sorted list does.

    `present` says which jobs wait: one that is not in it, or is there as another object, is passed over and
    dropped later; one that comes back before that stands where it stood.
    """

    __slots__ = ("_head", "_jobs", "_present", "oldest", "size")

    def __init__(self, present: Mapping[str, ReadyJob]) -> None:
        self._present = present
        self._jobs: list[ReadyJob] = []
        self._head = 0
        self.oldest: ReadyJob
        """Of those that wait in it; there is one but for a moment."""
        self.size = 0
        """Jobs that wait in it."""

    def add(self, job: ReadyJob) -> None:
        """A job that is present."""
        jobs = self._jobs
        if not jobs or age_of(jobs[-1]) < age_of(job):
            jobs.append(job)
        else:
            at = bisect_left(jobs, age_of(job), lo=self._head, key=age_of)
            if at == len(jobs) or jobs[at] is not job:
                jobs.insert(at, job)
        self.oldest = jobs[self._head]
        self.size += 1

    def discard(self) -> None:
        """One of its jobs is present no more."""
        self.size -= 1
        jobs, present = self._jobs, self._present
        while self._head < len(jobs) and present.get(jobs[self._head].job_id) is not jobs[self._head]:
            self._head += 1
        if self.size:
            self.oldest = jobs[self._head]
        if len(jobs) > 2 * self.size + SLACK:
            self._jobs = list(self)
            self._head = 0

    def __iter__(self) -> Iterator[ReadyJob]:
        present = self._present
        jobs = self._jobs
        for at in range(self._head, len(jobs)):
            job = jobs[at]
            if present.get(job.job_id) is job:
                yield job
