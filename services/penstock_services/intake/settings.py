"""Settings of intake."""

from __future__ import annotations

import dataclasses

from penstock.runtime.settings import (
    KafkaSettings,
    ObjectSettings,
    PostgresSettings,
    ProcessSettings,
    setting,
)


@dataclasses.dataclass(frozen=True)
class IntakeSettings:
    """Shared groups, and who may come in."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    objects: ObjectSettings
    open_tenancy: bool = setting(
        default=False, doc="Register unknown tenants by themselves (local stack); else they are REJECTED."
    )
