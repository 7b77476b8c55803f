"""Settings of the canceller."""

from __future__ import annotations

import dataclasses

from penstock.runtime.settings import KafkaSettings, PostgresSettings, ProcessSettings, TimingSettings


@dataclasses.dataclass(frozen=True)
class CancellerSettings:
    """All of them are shared groups."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    timing: TimingSettings
