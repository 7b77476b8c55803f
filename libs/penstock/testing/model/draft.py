"""A transaction of the twin while it is open: rows that change, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.core.states import HELD, JobState, PipelineState
from penstock.testing.model.rows import (
    PIPELINE,
    Events,
    Graph,
    Held,
    Job,
    JobRecord,
    Outcome,
    PipelineRecord,
    Rows,
    children,
    pipeline_record,
    publish,
    record,
)


class Draft:
    """The rows of one transaction. Nothing of it is seen outside before `commit`."""

    def __init__(self, graph: Graph, rows: Rows) -> None:
        self.graph = graph
        self.jobs = list(rows.jobs)
        self.leases = list(rows.leases)
        self.ready = list(rows.ready)
        self.timers = list(rows.timers)
        self.limits = list(rows.limits)
        self.pipeline = rows.pipeline
        self.remaining = rows.remaining
        self.holds = set(rows.holds)
        self._freed: set[tuple[str, str]] = set()
        self._outbox = rows.outbox
        self._told: list[JobRecord] = []
        self._pipelines: list[PipelineRecord] = []
        self._queued: list[int] = []
        self._undecided: list[int] = []
        self.grants: list[tuple[tuple[int, int], int, int, int]] = []
        self.stops: list[tuple[tuple[int, int], int, int]] = []

    def move(self, number: int, state: JobState, reason: str | None, **more: Any) -> Job:
        """One transition of a job; where no attempt lives, all of the last one goes."""
        job = self.jobs[number]
        if state not in HELD:
            more["token"] = 0
            self.leases[number] = self.limits[number] = None
            self.free(number)
        fields = {"previous": job.state, "version": job.version + 1, **more}
        job = job._replace(state=state, reason=reason, **fields)
        self.jobs[number] = job
        self._told.append(record(number, job))
        return job

    def admit(self, number: int) -> bool:
        """Take all that a job wants to hold, or nothing (`admit_v1`)."""
        wanted = {
            Held(wish.kind, wish.name, PIPELINE if wish.kind == "group" else number, wish.most)
            for wish in self.graph[number].holds
        } - self.holds
        if not all(self._is_borne(one) for one in wanted):
            return False
        self.holds |= wanted
        return True

    def free(self, holder: int) -> None:
        """All that it holds (`free_v1`, `leave_groups_v1`)."""
        gone = {one for one in self.holds if one.holder == holder}
        self.holds -= gone
        self._freed |= {(one.kind, one.name) for one in gone}

    def _is_borne(self, new: Held) -> bool:
        """Whether all that hold a name bear one more."""
        there = [one for one in self.holds if (one.kind, one.name) == (new.kind, new.name)]
        return all(one.most is None or len(there) < one.most for one in (*there, new))

    def tell(self, line: JobRecord) -> None:
        """A record of a version that is folded into the next."""
        self._told.append(line)

    def enqueue(self, number: int) -> None:
        """Put a job into the queue (`enqueue_v1`); a row that is there already is not told of again."""
        if not self.ready[number]:
            self.ready[number] = True
            self._queued.append(number)

    def move_pipeline(self, state: PipelineState, reason: str | None) -> None:
        """One transition of the pipeline."""
        row = self.pipeline
        self.pipeline = row._replace(state=state, previous=row.state, version=row.version + 1, reason=reason)
        self._pipelines.append(pipeline_record(self.pipeline))

    def ask(self, numbers: Iterable[int]) -> None:
        """Name jobs that wait for the pure decide."""
        self._undecided.extend(numbers)

    def begin(self) -> None:
        """The pipeline's first start."""
        if self.pipeline.state == "PENDING":
            self.move_pipeline("RUNNING", self.pipeline.reason)

    def settle(self, ended: list[int]) -> None:
        """What follows from jobs that just became terminal (`settle_v1`)."""
        met: dict[int, int] = {}
        bad: dict[int, int] = {}
        for parent in ended:
            state = self.jobs[parent].state
            well = state == "SUCCESS" or (state == "FAILED" and self.graph[parent].continue_on_error)
            for child in children(self.graph, parent):
                met[child] = met.get(child, 0) + 1
                bad[child] = bad.get(child, 0) + (not well)
        for child in sorted(met):
            job = self.jobs[child]
            job = job._replace(unmet=job.unmet - met[child], bad_needs=job.bad_needs + bad[child])
            self.jobs[child] = job
            if job.state != "PENDING" or job.unmet:
                continue
            if job.bad_needs or self.graph[child].conditional:
                self._undecided.append(child)
            else:
                self.move(child, "QUEUED", job.reason)
                self.enqueue(child)
        self._close(len(ended))

    def _close(self, ends: int) -> None:
        if self.remaining is None:
            return
        self.remaining -= ends
        if ends and self.remaining == 0:
            self.move_pipeline(verdict(self.graph, self.pipeline.state, self.jobs), self.pipeline.reason)
            self.remaining = None
            self._freed |= {
                (one.kind, one.name) for work in self.graph for one in work.holds if one.kind == "group"
            }
            self.free(PIPELINE)

    def commit(self, named: Iterable[int], *, outbox: bool = True) -> Outcome:
        """Freeze the rows; events, if there are any, are kept in the outbox."""
        rows = Rows(
            tuple(self.jobs),
            tuple(self.leases),
            tuple(self.ready),
            tuple(self.timers),
            tuple(self.limits),
            self.pipeline,
            self.remaining,
            self._outbox,
            tuple(sorted(self.holds)),
        )
        events = Events(
            tuple(sorted(self._told)),
            tuple(sorted(self._pipelines)),
            tuple(sorted(self._queued)),
            tuple(sorted(self.grants)),
            tuple(sorted(self.stops)),
            tuple(sorted(self._undecided)),
            tuple(sorted(self._freed)),
        )
        if outbox and (self._told or self._pipelines):
            rows = publish(rows, events)
        return Outcome(rows, events, tuple(sorted(named)))


def verdict(graph: Graph, state: PipelineState, jobs: Iterable[Job]) -> PipelineState:
    """How a pipeline ends whose jobs are all terminal (protocol §5)."""
    jobs = list(jobs)
    if state == "CANCELLING":
        return "CANCELLED"
    if any(
        job.state == "FAILED" and not work.continue_on_error for job, work in zip(jobs, graph, strict=True)
    ):
        return "FAILED"
    return "CANCELLED" if any(job.state == "CANCELLED" for job in jobs) else "SUCCESS"
