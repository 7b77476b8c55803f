"""Settings of the dispatcher."""

from __future__ import annotations

import dataclasses

from penstock.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    TimingSettings,
    setting,
)


@dataclasses.dataclass(frozen=True)
class DispatcherSettings:
    """Shared groups, and how far ahead of free slots it grants."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    timing: TimingSettings
    claim_rows: int = setting(256, doc="Most jobs claimed in one statement.")
    lookahead_jobs: int = setting(
        512, doc="Most jobs granted to a runner ahead of its free slots; only short ones are."
    )
    lookahead_seconds: float = setting(
        0.25, doc="A runner's granted and unstarted jobs may keep its slots busy for so long."
    )
