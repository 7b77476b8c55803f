"""Records about jobs: status for everybody, ready hints and reports between services."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from penstock.core.lanes import Lane
from penstock.core.states import JobState, Reason
from penstock.core.waiting import Waiting
from penstock.events.codec import Codec
from penstock.events.fields import Id

STATUS_TYPE: Final = "dev.penstock.job.status.v1"
WAITING_TYPE: Final = "dev.penstock.job.waiting.v1"
READY_TYPE: Final = "dev.penstock.job.ready.v1"
REPORT_TYPE: Final = "dev.penstock.job.report.v1"

MAX_LIMITED: Final = 64
"""Resources that one report may name."""
MAX_LIMITED_SECONDS: Final = 86_400.0
MAX_LIMITED_BYTES: Final = 256
"""Of a resource's name."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class JobStatus(msgspec.Struct, frozen=True):
    """`penstock.jobs.status`, key = pipeline id: one record a transition (interface §4)."""

    tenant: str
    pipeline_id: str
    job_id: str
    name: str
    pool: str
    lane: Lane
    attempt: int
    tries: int
    version: int
    state: JobState
    previous: JobState | None
    terminal: bool
    reason: Reason | None
    exit_code: int | None
    worker: str | None
    at: str
    duration_ms: int | None = None
    actor: str | None = None
    """Service and replica that did it; not part of the interface."""


class JobWaiting(msgspec.Struct, frozen=True):
    """`penstock.jobs.waiting`, key = pipeline id: why a QUEUED job waits, when that has changed.

    `reason` is one of a list that may grow; null: from now on only those before it. A record may be lost or
    come after the job was taken: what holds now is told by `GET /v1/jobs/{id}/explain`.
    """

    tenant: str
    pipeline_id: str
    job_id: str
    reason: Waiting | None
    text: str
    """One sentence."""
    detail: dict[str, Any]
    """The facts in it."""
    at: str


class Hold(msgspec.Struct, frozen=True, array_like=True):
    """A name that a job holds while it runs: no more holders at once than any of them allows.

    `kind`: `lock`; `matrix` (places of one, `name` is `PIPELINE/KEY`); `group` (its pipeline holds it until
    it ends); `running` (a quota's, `name` is the pool or `*`; never in a job's own). `most`: so many holders,
    this one included; null: any number. So 1 is exclusive.
    """

    kind: str
    name: str
    most: int | None


class Resources(msgspec.Struct, frozen=True):
    """What a job needs of a runner's capacity; 0 or nothing: no matter."""

    cpu: float = 0
    memory: int = 0
    """Bytes."""
    arch: str = ""
    """As `uname -m` has it."""


class ReadyJob(msgspec.Struct, frozen=True):
    """A QUEUED job with all that dispatch needs to know of it, so that a hint costs no SELECT."""

    job_id: Id
    pipeline_id: Id
    tenant: str
    pool: str
    lane: Lane
    executor: str
    labels: list[str]
    queued_at: Annotated[datetime, msgspec.Meta(tz=True)]
    resources: Resources | None = None
    holds: tuple[Hold, ...] = ()
    immediate: bool = False
    """Short: it goes before the queue when all its locks are free."""


class Freed(msgspec.Struct, frozen=True, array_like=True):
    """A name that `holder` holds no more; `kind` `policy`, tenant `*`: read the policies again."""

    tenant: str
    kind: str
    name: str
    holder: str = ""
    """A job, of a group its pipeline."""


class ReadyHint(msgspec.Struct, frozen=True):
    """`penstock.jobs.ready.LANE`, key = tenant: these jobs became QUEUED, these names were freed (lane
    `critical`). Lost or repeated: harmless.
    """

    jobs: list[ReadyJob]
    freed: list[Freed] = []


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a runner says of one attempt; it repeats it until `settled` arrives (protocol §4).

    `kind`: `started`; `ended` (with all that follows; `started_here` false when no process ever ran);
    `released` (not started and given back).
    `duration_ms` is the runner's monotonic clock; `last_seq` the number of its last log line.
    """

    job_id: str
    attempt: int
    token: str
    kind: Literal["started", "ended", "released"]
    success: bool = False
    started_here: bool = True
    exit_code: int | None = None
    reason: str | None = None
    """A `Reason`, or one that a younger runner knows."""
    duration_ms: int | None = None
    last_seq: int = 0
    limited: list[tuple[str, float]] = []
    """Named resources that told it to wait, and for how many seconds."""


def limited_fault(name: str, seconds: float) -> str:
    """What is wrong with one of a report's `limited`; empty when nothing is."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_LIMITED_BYTES or _CONTROL.search(name):
        return f"a name has 1 to {MAX_LIMITED_BYTES} bytes and no control characters"
    if not 0 <= seconds <= MAX_LIMITED_SECONDS:  # NaN neither
        return f"seconds are a number from 0 to {MAX_LIMITED_SECONDS:.0f}"
    return ""


class Reports(msgspec.Struct, frozen=True, omit_defaults=True):
    """`penstock.jobs.reports`, key = pipeline id: one runner's reports of one pipeline's jobs.

    `undecided` names jobs whose needs are all resolved and which wait for a decision; reaper and
    canceller send them to the advancer by this topic.
    """

    pipeline_id: str
    session_id: str = ""
    reports: list[Report] = []
    undecided: list[str] = []


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt handed to a runner. `spec` is the job as planned (`penstock.definition`)."""

    job_id: str
    attempt: int
    token: str
    pipeline_id: str
    tenant: str
    name: str
    spec: dict[str, Any]
    git: dict[str, Any] | None = None
    pipeline_name: str = ""
    lease: float | None = None
    """Seconds that each lease of an exclusive attempt lasts, its grace included; null: it is none."""


status = Codec(JobStatus)
ready_hint = Codec(ReadyHint)
reports = Codec(Reports)
