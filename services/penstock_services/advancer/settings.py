"""Settings of the advancer."""

from __future__ import annotations

import dataclasses

from penstock.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    RetrySettings,
    TimingSettings,
)


@dataclasses.dataclass(frozen=True)
class AdvancerSettings:
    """All of them are shared groups."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    timing: TimingSettings
    retry: RetrySettings
