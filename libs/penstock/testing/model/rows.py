"""Rows of the twin: one pipeline, its jobs by number, and what hangs on them. All of it is immutable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from penstock.core.states import JobState, PipelineState

Session = tuple[int, int]
"""A runner and its incarnation."""


PIPELINE = -1
"""Holds a group in place of a job."""


class Wish(NamedTuple):
    """What a job holds while an attempt lives; a group its pipeline holds until it ends."""

    kind: str
    name: str
    most: int | None


class Work(NamedTuple):
    """What never changes of a job."""

    needs: tuple[int, ...] = ()
    condition: str = ""
    continue_on_error: bool = False
    retry_max: int = 0
    holds: tuple[Wish, ...] = ()

    @property
    def conditional(self) -> bool:
        """Whether SQL may not queue it: the pure decide must be asked."""
        return self.condition not in ("", "success")


Graph = tuple[Work, ...]
"""The jobs of a pipeline; a need is the number of another job."""


class Job(NamedTuple):
    """A row of `jobs`. The token is the number of the attempt that it fences, 0 when none is alive."""

    state: JobState
    unmet: int
    previous: JobState | None = None
    reason: str | None = None
    version: int = 1
    attempt: int = 0
    token: int = 0
    tries: int = 0
    infra_tries: int = 0
    unstarted: int = 0
    bad_needs: int = 0


class Lease(NamedTuple):
    """A row of `leases`; `over`: it has expired by the database clock."""

    attempt: int
    token: int
    session: Session
    started: bool = False
    cancelling: bool = False
    over: bool = False
    ending: str | None = None
    """Why a timer ended it: it is not renewed any more."""


class Held(NamedTuple):
    """A row of `holds`."""

    kind: str
    name: str
    holder: int
    """A job, or the pipeline."""
    most: int | None


class Limit(NamedTuple):
    """A run or grace timer; `due`: its moment has come."""

    kind: str
    token: int
    due: bool = False


class Pipeline(NamedTuple):
    """A row of `pipelines`."""

    state: PipelineState = "PENDING"
    previous: PipelineState | None = None
    reason: str | None = None
    version: int = 1


class JobRecord(NamedTuple):
    """A status record of a job."""

    job: int
    version: int
    previous: JobState | None
    state: JobState
    reason: str | None
    attempt: int
    tries: int


class PipelineRecord(NamedTuple):
    """A status record of a pipeline."""

    version: int
    previous: PipelineState | None
    state: PipelineState
    reason: str | None


class Events(NamedTuple):
    """What a transition tells, each part sorted. Grants: (session, job, attempt, token)."""

    jobs: tuple[JobRecord, ...] = ()
    pipelines: tuple[PipelineRecord, ...] = ()
    ready: tuple[int, ...] = ()
    grants: tuple[tuple[Session, int, int, int], ...] = ()
    stops: tuple[tuple[Session, int, int], ...] = ()
    undecided: tuple[int, ...] = ()
    freed: tuple[tuple[str, str], ...] = ()
    """Kind and name."""


SILENCE = Events()


class Rows(NamedTuple):
    """The state of one pipeline in Postgres, by number of the job."""

    jobs: tuple[Job, ...]
    leases: tuple[Lease | None, ...]
    ready: tuple[bool, ...]
    timers: tuple[bool | None, ...]
    """Retry timers: due, not due, or none."""
    limits: tuple[Limit | None, ...]
    """Run and grace timers: a job has one at most."""
    pipeline: Pipeline
    remaining: int | None
    """The row of `open_pipelines`; None when it is gone."""
    outbox: tuple[Events, ...] = ()
    holds: tuple[Held, ...] = ()


class Outcome(NamedTuple):
    """What a transition answers: the rows after it, its events, and jobs it names (accepted, claimed)."""

    rows: Rows
    events: Events = SILENCE
    named: tuple[int, ...] = ()


def accept(graph: Graph) -> Outcome:
    """A new pipeline (`accept_v1`): roots are born QUEUED, but those that wait for a failure."""
    waits = tuple(bool(work.needs) or work.condition == "failure" for work in graph)
    jobs = tuple(
        Job("PENDING" if wait else "QUEUED", len(work.needs)) for work, wait in zip(graph, waits, strict=True)
    )
    count = len(jobs)
    roots = tuple(number for number, job in enumerate(jobs) if job.state == "QUEUED")
    rows = Rows(
        jobs,
        leases=(None,) * count,
        ready=tuple(job.state == "QUEUED" for job in jobs),
        timers=(None,) * count,
        limits=(None,) * count,
        pipeline=Pipeline(),
        remaining=count,
    )
    events = Events(
        jobs=tuple(record(number, job) for number, job in enumerate(jobs)),
        pipelines=(PipelineRecord(1, None, "PENDING", None),),
        ready=roots,
        undecided=tuple(
            number for number, job in enumerate(jobs) if job.state == "PENDING" and not job.unmet
        ),
    )
    return Outcome(publish(rows, events), events, roots)


def record(number: int, job: Job) -> JobRecord:
    """The status record of a row."""
    return JobRecord(number, job.version, job.previous, job.state, job.reason, job.attempt, job.tries)


def pipeline_record(row: Pipeline) -> PipelineRecord:
    """The status record of a pipeline's row."""
    return PipelineRecord(row.version, row.previous, row.state, row.reason)


def publish(rows: Rows, events: Events) -> Rows:
    """Keep the events in the outbox (`publish_v1`)."""
    return rows._replace(outbox=tuple(sorted((*rows.outbox, events), key=repr)))


def acked(rows: Rows, events: Events) -> Rows:
    """Delete an outbox row whose records are acked (`acked_v1`)."""
    at = rows.outbox.index(events)
    return rows._replace(outbox=rows.outbox[:at] + rows.outbox[at + 1 :])


def children(graph: Graph, parent: int) -> Sequence[int]:
    """The jobs that need this one."""
    return [number for number, work in enumerate(graph) if parent in work.needs]
