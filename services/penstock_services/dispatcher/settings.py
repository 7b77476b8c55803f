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
from penstock_services.dispatcher.decide import Policy


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
    age_seconds: float = setting(
        300.0,
        doc="A job of a lower lane that has waited for so long gets its part of the grants of its pool.",
    )
    age_every: int = setting(8, doc="Of so many grants one goes to a job that has waited for age_seconds.")
    reserve_seconds: float = setting(
        60.0,
        doc="A job that asks for cores or memory and found no room for so long gets a runner emptied for it.",
    )

    def policy(self) -> Policy:
        """What decide needs of it."""
        return Policy(
            limit=self.claim_rows,
            lookahead_jobs=self.lookahead_jobs,
            lookahead_seconds=self.lookahead_seconds,
            age_seconds=self.age_seconds,
            age_every=self.age_every,
            reserve_seconds=self.reserve_seconds,
        )
