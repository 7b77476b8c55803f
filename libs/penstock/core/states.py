"""The life of a job and of a pipeline as one table that code, SQL and tests obey (protocol §3, §5, §6)."""

from __future__ import annotations

from typing import Final, Literal, get_args

JobState = Literal[
    "PENDING", "WAITING", "QUEUED", "ASSIGNED", "RUNNING", "RETRYING", "CANCELLING",
    "SUCCESS", "FAILED", "CANCELLED", "SKIPPED",
]  # fmt: skip
PipelineState = Literal["REJECTED", "PENDING", "RUNNING", "CANCELLING", "SUCCESS", "FAILED", "CANCELLED"]
Reason = Literal[
    "exit-code", "signal", "run-timeout", "queue-timeout", "start-timeout", "worker-lost", "start-refused",
    "infra-error", "artifact-missing", "dependency-failed", "condition-false", "cancelled", "superseded",
    "fail-fast", "reused", "request-conflict", "invalid", "approval-rejected", "log-limit", "quota-exceeded",
]  # fmt: skip
"""Why a transition happened: closed in code, open to clients, who go by `terminal`."""

JOB_STATES: Final[tuple[JobState, ...]] = get_args(JobState)
PIPELINE_STATES: Final[tuple[PipelineState, ...]] = get_args(PipelineState)
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

JOB_TERMINAL: Final[frozenset[JobState]] = frozenset(("SUCCESS", "FAILED", "CANCELLED", "SKIPPED"))
PIPELINE_TERMINAL: Final[frozenset[PipelineState]] = frozenset(("REJECTED", "SUCCESS", "FAILED", "CANCELLED"))
HELD: Final[frozenset[JobState]] = frozenset(("ASSIGNED", "RUNNING", "CANCELLING"))
"""States in which an attempt may be alive: exactly here a job has a token and a lease."""

JOB_TRANSITIONS: Final[dict[JobState | None, frozenset[JobState]]] = {
    # None is creation. Roots are born QUEUED; a rerun's reused jobs are born in the state they had.
    None: frozenset(("PENDING", "WAITING", "QUEUED", "SUCCESS", "FAILED", "CANCELLED", "SKIPPED")),
    "PENDING": frozenset(("WAITING", "QUEUED", "SKIPPED", "CANCELLED")),
    "WAITING": frozenset(("QUEUED", "SKIPPED", "CANCELLED", "FAILED")),
    "QUEUED": frozenset(("ASSIGNED", "CANCELLED", "FAILED")),
    "ASSIGNED": frozenset(("RUNNING", "QUEUED", "RETRYING", "FAILED", "CANCELLING")),
    "RUNNING": frozenset(("SUCCESS", "FAILED", "RETRYING", "QUEUED", "CANCELLING")),
    "RETRYING": frozenset(("QUEUED", "CANCELLED")),
    "CANCELLING": frozenset(("CANCELLED",)),
    "SUCCESS": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
    "SKIPPED": frozenset(),
}
"""Legal next states of a job; terminal states absorb, for ever."""

PIPELINE_TRANSITIONS: Final[dict[PipelineState | None, frozenset[PipelineState]]] = {
    None: frozenset(("PENDING", "REJECTED")),
    "PENDING": frozenset(("RUNNING", "CANCELLING", "SUCCESS", "FAILED", "CANCELLED")),
    "RUNNING": frozenset(("CANCELLING", "SUCCESS", "FAILED", "CANCELLED")),
    "CANCELLING": frozenset(("CANCELLED",)),
    "REJECTED": frozenset(),
    "SUCCESS": frozenset(),
    "FAILED": frozenset(),
    "CANCELLED": frozenset(),
}
"""Legal next states of a pipeline."""
