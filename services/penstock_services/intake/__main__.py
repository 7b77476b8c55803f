"""Composition of intake."""

from __future__ import annotations

import sys

from penstock.events import topics
from penstock.kafka.consumer import GroupSource
from penstock.kafka.loop import run_loop
from penstock.kafka.producer import Producer
from penstock.objects.definitions import StoredDefinitions
from penstock.objects.later import LaterObjects
from penstock.runtime.run import Process, start
from penstock.store.database import Database
from penstock_services.intake.handle import Intake
from penstock_services.intake.settings import IntakeSettings

SHARE_BYTES = 64 * 1024
"""A step accepts so much of requests: a pipeline of a thousand jobs, or many small ones. While many of one
tenant are accepted another's waits for one step, not for all of them.
"""


def body(process: Process, settings: IntakeSettings) -> None:
    """Run until told to stop."""
    db = Database(settings.postgres.postgres_dsn, f"penstock-{process.instance}")
    definitions = StoredDefinitions(LaterObjects(settings.objects))
    intake = Intake(db, definitions, actor=process.instance, open_tenancy=settings.open_tenancy)
    with Producer(settings.kafka, name=process.instance) as producer:
        source = GroupSource(settings.kafka, [topics.PIPELINES_REQUESTED.name], "penstock-intake")
        run_loop(process, source, intake.step, producer, tick=intake.tick, share_bytes=SHARE_BYTES)


def main() -> int:
    """Entry point of `penstock service intake`."""
    return start("intake", IntakeSettings, body)


if __name__ == "__main__":
    sys.exit(main())
