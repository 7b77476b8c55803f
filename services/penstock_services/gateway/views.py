"""The shapes of answers, for openapi.json and for the tests that hold the answers against them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from penstock.core.errors import Problem
from penstock.core.lanes import Lane
from penstock.core.states import JobState, PipelineState, Reason
from penstock.events.pipelines import PipelineRequested, Trigger

Received = Literal["RECEIVED"]


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """An error by RFC 9457. `type` is `urn:penstock:problem:` and a word, such as already-terminal."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Problem] = []


class PipelineRequest(PipelineRequested, frozen=True):
    """What is asked for. Exactly one of the three definitions must be given."""

    tenant: str = ""
    """That of the token, so it need not be given."""


class Receipt(msgspec.Struct, omit_defaults=True):
    """What was asked for is received (RECEIVED), or accepted and in this state."""

    request_id: str
    state: PipelineState | Received
    url: str
    pipeline_id: str | None = None


class RerunRequest(msgspec.Struct, omit_defaults=True, rename={"from_job": "from"}):
    """What is run again: the whole pipeline, or only what `failed`, or one job; and all that comes after."""

    failed: bool = False
    """The jobs that FAILED or were CANCELLED, and all that comes after them."""
    from_job: str | None = None
    """The job with this id, and all that comes after it."""


class RerunReceipt(msgspec.Struct):
    """The new pipeline."""

    pipeline_id: str
    request_id: str
    rerun_of: str
    state: PipelineState
    url: str


class RequestView(msgspec.Struct):
    """What became of a request."""

    tenant: str
    request_id: str
    pipeline_id: str
    state: PipelineState | Received
    reason: Reason | None
    errors: list[Problem] | None
    received_at: str
    url: str


class PipelineView(msgspec.Struct, omit_defaults=True):
    """A pipeline. Of one that is only RECEIVED the fields without a default are known."""

    tenant: str
    pipeline_id: str
    request_id: str
    state: PipelineState | Received
    terminal: bool
    counts: dict[JobState, int]
    created_at: str
    url: str
    name: str = ""
    version: int = 0
    reason: Reason | None = None
    trigger: Trigger | None = None
    git: dict[str, Any] | None = None
    errors: list[Problem] | None = None
    rerun_of: str | None = None
    changed_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None


class PipelinePage(msgspec.Struct):
    """Pipelines, the newest first. `next_cursor` is null on the last page."""

    pipelines: list[PipelineView]
    next_cursor: str | None


class LockView(msgspec.Struct):
    """A lock that a job takes."""

    name: str
    mode: Literal["exclusive", "shared"]


class ResourcesView(msgspec.Struct, omit_defaults=True):
    """What a job asks of a runner, where it asks: cores, bytes, architecture as `uname -m`."""

    cpu: float = 0
    memory: int = 0
    arch: str = ""


class WaitingView(msgspec.Struct):
    """Why a QUEUED job waits, in a word of a list that may grow and in a sentence."""

    reason: str
    text: str


class JobView(msgspec.Struct, rename={"condition": "if"}):
    """A job. Times and `exit_code` are those of its last attempt, `worker` is the session that had it.

    One with a `source_job_id` was taken over by a rerun (reason `reused`): it has no attempt of its own, its
    attempts and log are those of that job.
    """

    tenant: str
    pipeline_id: str
    job_id: str
    name: str
    stage: str | None
    state: JobState
    terminal: bool
    version: int
    reason: Reason | None
    attempt: int
    tries: int
    exit_code: int | None
    duration_ms: int | None
    pool: str
    lane: Lane
    labels: list[str]
    executor: str
    worker: str | None
    continue_on_error: bool
    condition: str
    source_job_id: str | None
    started_at: str | None
    finished_at: str | None
    changed_at: str
    needs: list[str]
    url: str
    resources: ResourcesView | None
    immediate: bool
    locks: list[LockView]
    waiting: WaitingView | None
    """Only while it is QUEUED."""


class GraphJobView(JobView):
    """A job among those of its pipeline; `level` is the length of the longest path to it."""

    level: int
    attempts: list[AttemptView] | msgspec.UnsetType = msgspec.UNSET
    """Only if they were asked for."""


class JobPage(msgspec.Struct):
    """All jobs of a pipeline, by level and name."""

    jobs: list[GraphJobView]


class AttemptView(msgspec.Struct):
    """One claim of a job by a runner. The living one has no `ended_at`.

    `late` is what its runner told after it was taken back (`late_at`): refused, and without any effect.
    """

    attempt: int
    state: JobState
    reason: Reason | None
    exit_code: int | None
    duration_ms: int | None
    last_seq: int | None
    worker: str
    worker_name: str | None
    unblocked_at: str | None
    """Since when nothing but the queue stood before it, as its dispatcher knew it."""
    assigned_at: str
    started_at: str | None
    ended_at: str | None
    late: str | None
    late_at: str | None


class JobDetail(JobView):
    """A job with its whole past."""

    created_at: str
    queued_at: str | None
    attempts: list[AttemptView]


class AttemptPage(msgspec.Struct):
    """All attempts of a job, or of the one that it was taken over from, the first one first."""

    attempts: list[AttemptView]


class Explanation(msgspec.Struct, omit_defaults=True):
    """Why a job is in its state.

    `reason`: of a QUEUED job why it waits, one of pool-paused, no-runners, no-fit, quota, rate-limit, lock,
    group, max-parallel, no-room and queue, to which others may come; `needs` of a PENDING one, `approval` of
    one that is WAITING, `retry` of one that is RETRYING; of one that ended its reason; null while it runs.
    """

    job_id: str
    pipeline_id: str
    name: str
    state: JobState
    pool: str
    lane: Lane
    reason: str | None
    text: str
    """One sentence."""
    detail: dict[str, Any]
    """The facts in it."""
    queued_at: str | None
    at: str
    """When it was found to be so."""
    position: int | None = None
    """By age, among the jobs of its pool and lane; tenants take turns, so it is no promise."""
    ahead: int | None = None
    """Jobs of its pool in higher lanes, or older ones in its own."""


class PromoteRequest(msgspec.Struct, omit_defaults=True):
    """To which lane."""

    lane: Literal["critical", "high"] = "high"


class PromoteReceipt(msgspec.Struct):
    """The job is in this lane; `promoted` is false when it was there before."""

    job_id: str
    lane: Lane
    promoted: bool
    url: str


class CancelRequest(msgspec.Struct, omit_defaults=True):
    """Why, in words."""

    reason: str = ""


class CancelReceipt(msgspec.Struct, omit_defaults=True):
    """The cancel is kept and will be applied."""

    pipeline_id: str
    url: str
    job_id: str | None = None


class DefinitionReceipt(msgspec.Struct):
    """The definition is stored; `definition_ref: {sha256}` of a request names it."""

    sha256: str


class PlannedJobView(msgspec.Struct):
    """A job as it would be run."""

    name: str
    stage: str | None
    pool: str
    labels: list[str]
    lane: Lane
    executor: str
    needs: list[str]
    level: int


class PlanView(msgspec.Struct):
    """What a definition expands to: jobs by level and name."""

    name: str
    jobs: list[PlannedJobView]
    edges: int
    levels: int


class WorkerView(msgspec.Struct):
    """A session of a process: one start of it."""

    session_id: str
    kind: str
    name: str
    pool: str | None
    state: Literal["IDLE", "BUSY", "DRAINING", "OFFLINE"]
    slots: int
    attempts: int
    capacity: dict[str, Any] | None
    labels: list[str]
    registered_at: str
    seen_at: str


class WorkerPage(msgspec.Struct):
    """Sessions, the newest first."""

    workers: list[WorkerView]
