"""Composition of the canceller."""

from __future__ import annotations

import sys

from penstock.events import topics
from penstock.kafka.consumer import GroupSource
from penstock.kafka.loop import run_loop
from penstock.kafka.producer import Producer
from penstock.runtime.run import Process, start
from penstock.store.database import Database
from penstock_services.canceller.handle import Canceller
from penstock_services.canceller.settings import CancellerSettings


def body(process: Process, settings: CancellerSettings) -> None:
    """Run until told to stop."""
    db = Database(settings.postgres.postgres_dsn, f"penstock-{process.instance}")
    canceller = Canceller(db, actor=process.instance, sweep_seconds=settings.timing.sweep_seconds)
    with Producer(settings.kafka, name=process.instance) as producer:
        source = GroupSource(settings.kafka, [topics.CANCEL_REQUESTED.name], "penstock-canceller")
        run_loop(process, source, canceller.step, producer, tick=canceller.tick)


def main() -> int:
    """Entry point of `penstock service canceller`."""
    return start("canceller", CancellerSettings, body)


if __name__ == "__main__":
    sys.exit(main())
