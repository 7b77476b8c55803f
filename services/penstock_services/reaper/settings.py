"""Settings of the reaper."""

from __future__ import annotations

import dataclasses
from typing import Final

from penstock.events.topics import DAY, PIPELINES_REQUESTED
from penstock.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    RetrySettings,
    TimingSettings,
    setting,
)

MIN_REQUESTS_DAYS: Final = PIPELINES_REQUESTED.retention_ms // DAY + 1


@dataclasses.dataclass(frozen=True)
class ReaperSettings:
    """Shared groups, and the bounds of its own work."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    timing: TimingSettings
    retry: RetrySettings
    relay_after_seconds: float = setting(
        2.0, doc="Age at which the relay publishes an outbox row that its own process did not."
    )
    scan_rows: int = setting(500, doc="Most leases, timers or outbox rows that one scan takes.")
    partition_seconds: float = setting(
        3600.0, doc="How often partitions are made ahead, old ones detached, and logs of unknown jobs closed."
    )
    republish_hours: float = setting(
        24.0, doc="After a loss of Kafka the status topics get the transitions of so many hours again."
    )
    republish_jobs: int = setting(200, doc="Jobs whose history one scan publishes again, so as not to flood.")
    keep_weeks: int = setting(13, doc="Weekly partitions are detached once they are older than this.")
    keep_requests_days: int = setting(
        90,
        doc="Idempotency keys of finished pipelines, refused repeats and cancels are deleted after this.",
    )

    def __post_init__(self) -> None:
        if self.keep_requests_days < MIN_REQUESTS_DAYS:
            raise ValueError(
                f"PENSTOCK_KEEP_REQUESTS_DAYS={self.keep_requests_days} must be at least {MIN_REQUESTS_DAYS}:"
                " a request that Kafka still holds must find its key when it is read again"
            )
        if self.keep_weeks < 1:
            raise ValueError(f"PENSTOCK_KEEP_WEEKS={self.keep_weeks} must be at least 1")
