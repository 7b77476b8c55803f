"""Every topic, declared once: its name, what its key is, how long and how large its records may be.

`penstock topics apply` creates them, `diff` compares them with a cluster; nothing is ever auto-created.
Keys decide order: a topic keeps order per key only, so each key is what order matters for (design §2).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from penstock.core.lanes import LANES, Lane

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Hard limit of one record on the internal topics; writers split batches well below it."""
DOOR_RECORD_BYTES: Final = 1024 * 1024
"""Largest record a client may produce; a larger definition travels by reference."""


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. `key` says in words what its records are keyed by; durations are milliseconds."""

    name: str
    key: str
    about: str
    retention_ms: int
    max_bytes: int = MAX_RECORD_BYTES
    dlq: bool = False
    flush_each: bool = False
    """Force every record to disk before its ack: only where Kafka alone may hold an accepted request."""
    kind: Literal["public", "internal"] = "internal"
    partitioned: bool = True
    """Has as many partitions as the installation's setting; else one."""


def _topic(name: str, key: str, about: str, retention_ms: int, **more: object) -> Topic:
    return Topic(name=f"penstock.{name}", key=key, about=about, retention_ms=retention_ms, **more)  # type: ignore[arg-type]


PIPELINES_REQUESTED: Final = _topic(
    "pipelines.requested", "tenant", "Pipeline events, door one: clients produce them.", 7 * DAY,
    max_bytes=DOOR_RECORD_BYTES, dlq=True, flush_each=True, kind="public",
)  # fmt: skip
CANCEL_REQUESTED: Final = _topic(
    "cancel.requested", "pipeline id", "Requests to cancel a pipeline or a job.", 7 * DAY,
    max_bytes=DOOR_RECORD_BYTES, dlq=True, kind="public",
)  # fmt: skip
PIPELINES_STATUS: Final = _topic(
    "pipelines.status", "pipeline id", "Every transition of every pipeline, door two.", 7 * DAY, kind="public"
)
JOBS_STATUS: Final = _topic(
    "jobs.status", "pipeline id", "Every transition of every job, door two.", 7 * DAY, kind="public"
)
JOBS_WAITING: Final = _topic(
    "jobs.waiting",
    "pipeline id",
    "Why jobs wait in the queue, when that has changed.",
    7 * DAY,
    kind="public",
)
JOBS_READY: Final[dict[Lane, Topic]] = {
    lane: _topic(f"jobs.ready.{lane}", "tenant", f"Hints that jobs of lane {lane} became QUEUED.", HOUR)
    for lane in LANES
}
JOBS_REPORTS: Final = _topic(
    "jobs.reports", "pipeline id", "What runners report of attempts: ended, released.", DAY, dlq=True
)
WORKERS_HEARTBEATS: Final = _topic(
    "workers.heartbeats", "worker session", "Slots, capacity and attempts held by a runner.", HOUR, dlq=True
)
WORKERS_OFFERS: Final = _topic("workers.offers", "pool", "Slots that came free between heartbeats.", HOUR)
WORKERS_GRANTS: Final = _topic("workers.grants", "worker session", "Jobs granted to a runner.", HOUR)
WORKERS_CONTROL: Final = _topic(
    "workers.control", "worker session", "Renewals, cancels, settled reports, stored log lines.", HOUR
)
LOGS_FRAMES: Final = _topic("logs.frames", "job id", "Log frames of running attempts.", DAY, dlq=True)
WARMUP: Final = _topic(
    "warmup", "none", "Empty records by which producers warm up; nobody reads them.", HOUR,
    partitioned=False,
)  # fmt: skip

TOPICS: Final[tuple[Topic, ...]] = (
    PIPELINES_REQUESTED,
    CANCEL_REQUESTED,
    PIPELINES_STATUS,
    JOBS_STATUS,
    JOBS_WAITING,
    *JOBS_READY.values(),
    JOBS_REPORTS,
    WORKERS_HEARTBEATS,
    WORKERS_OFFERS,
    WORKERS_GRANTS,
    WORKERS_CONTROL,
    LOGS_FRAMES,
    WARMUP,
)

DLQ_SUFFIX: Final = ".dlq"
DLQ_RETENTION_MS: Final = 14 * DAY


def dlq_of(topic: str) -> str:
    """The dead-letter topic of a topic."""
    return topic + DLQ_SUFFIX
