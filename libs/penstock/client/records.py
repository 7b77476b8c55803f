"""What the gateway's answers have. More may be there: an object is handed on as it came."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict, final


class Receipt(TypedDict):
    """What became of a submission. Without `pipeline_id` (state RECEIVED) ask for the request later."""

    request_id: str
    state: str
    url: str
    pipeline_id: NotRequired[str]


class Rerun(TypedDict):
    """The pipeline that a rerun made."""

    pipeline_id: str
    request_id: str
    rerun_of: str
    state: str
    url: str


class Pipeline(TypedDict):
    """A pipeline; times are RFC 3339 UTC. One that is only RECEIVED lacks what is not required."""

    tenant: str
    pipeline_id: str
    request_id: str
    state: str
    terminal: bool
    counts: dict[str, int]
    created_at: str
    name: NotRequired[str]
    reason: NotRequired[str | None]
    git: NotRequired[dict[str, Any] | None]
    errors: NotRequired[list[dict[str, Any]] | None]
    rerun_of: NotRequired[str | None]
    started_at: NotRequired[str | None]
    finished_at: NotRequired[str | None]


class Attempt(TypedDict):
    """One claim of a job by a runner; the living one has no `ended_at`. `last_seq` counts its log lines.

    `late` is what its runner told after it was taken back, refused and without effect.
    """

    attempt: int
    state: str
    reason: str | None
    exit_code: int | None
    duration_ms: int | None
    last_seq: int | None
    worker: str
    worker_name: str | None
    unblocked_at: NotRequired[str | None]
    assigned_at: str
    started_at: str | None
    ended_at: str | None
    late: NotRequired[str | None]
    late_at: NotRequired[str | None]


class Waiting(TypedDict):
    """Why a QUEUED job waits, in a word and in a sentence."""

    reason: str
    text: str


class Explanation(TypedDict):
    """Why a job is in its state: `reason` in a word, `text` in a sentence, `detail` the facts in it.

    `position` is its place by age in its pool and lane, `ahead` counts all that come before it in its pool.
    """

    job_id: str
    pipeline_id: str
    name: str
    state: str
    pool: str
    lane: str
    reason: str | None
    text: str
    detail: dict[str, Any]
    queued_at: str | None
    at: str
    position: NotRequired[int]
    ahead: NotRequired[int]


class Promotion(TypedDict):
    """The job is in this lane; `promoted` is false when it was before."""

    job_id: str
    lane: str
    promoted: bool
    url: str


class Job(TypedDict):
    """A job; `level` is there among the jobs of a pipeline, `attempts` where it was asked for alone.

    One that a rerun took over (`source_job_id`) has none of its own: attempts and log are its source's.
    """

    pipeline_id: str
    job_id: str
    name: str
    stage: str | None
    state: str
    terminal: bool
    version: int
    reason: str | None
    attempt: int
    tries: int
    exit_code: int | None
    duration_ms: int | None
    executor: str
    needs: list[str]
    started_at: str | None
    changed_at: str
    source_job_id: NotRequired[str | None]
    level: NotRequired[int]
    waiting: NotRequired[Waiting | None]
    attempts: NotRequired[list[Attempt]]


class Status(TypedDict):
    """A status record (interface §4) of a pipeline, or of a job when it has a `job_id`."""

    pipeline_id: str
    name: str
    version: int
    state: str
    previous: str | None
    terminal: bool
    reason: str | None
    at: str
    job_id: NotRequired[str]
    attempt: NotRequired[int]
    tries: NotRequired[int]
    exit_code: NotRequired[int | None]
    duration_ms: NotRequired[int | None]
    errors: NotRequired[list[dict[str, Any]] | None]


@final
class LogLine(TypedDict):
    """One line. `ts` is Unix milliseconds; `raw` base64 of its bytes when they are not UTF-8; `part` true
    when no newline follows.
    """

    seq: int
    ts: int
    stream: str
    text: str
    raw: NotRequired[str]
    part: NotRequired[bool]


@final
class LogEnd(TypedDict):
    """The end-of-log record. `incomplete`: the rest is lost, `missing` lines of it if that is known."""

    end: bool
    last_seq: int
    state: NotRequired[str]
    incomplete: NotRequired[bool]
    missing: NotRequired[int]
