"""Composition of the reaper."""

from __future__ import annotations

import sys
from functools import partial

from penstock.events import topics
from penstock.kafka.admin import apply_topics
from penstock.kafka.consumer import GroupSource
from penstock.kafka.dlq import DlqCounter
from penstock.kafka.loop import run_loop
from penstock.kafka.partitioner import require_partitions
from penstock.kafka.probe import probe
from penstock.kafka.producer import Producer
from penstock.runtime.run import Process, start
from penstock.store.database import Database
from penstock_services.reaper.handle import Reaper
from penstock_services.reaper.republish import ClusterWatch
from penstock_services.reaper.settings import ReaperSettings

PROBE_SECONDS = 30.0
"""How long a broker may keep the reaper waiting when it starts."""


def body(process: Process, settings: ReaperSettings) -> None:
    """Run until told to stop."""
    db = Database(settings.postgres.postgres_dsn, f"penstock-{process.instance}")
    reaper = Reaper(
        db,
        settings,
        actor=process.instance,
        owned=lambda: source.assignment(),  # noqa: PLW0108 - it is made below
        clock=process.clock,
        metrics=process.metrics,
    )
    source = GroupSource(
        settings.kafka,
        [topics.WORKERS_HEARTBEATS.name],
        "penstock-reaper",
        on_assigned=reaper.rebalanced,
        on_revoked=reaper.rebalanced,
        gather_seconds=settings.timing.gather_seconds,
    )
    watch = ClusterWatch(
        process,
        db,
        settings,
        lambda: producer.cluster_id(),  # noqa: PLW0108 - it is made below
        DlqCounter(settings.kafka),
        partial(apply_topics, settings.kafka),
    )
    watch.meet(probe(settings.kafka, PROBE_SECONDS))
    with Producer(settings.kafka, name=process.instance) as producer:
        require_partitions(producer, topics.WORKERS_HEARTBEATS.name, settings.kafka.kafka_partitions)
        run_loop(
            process,
            source,
            reaper.step,
            producer,
            tick=watch.around(reaper.tick),
            tick_seconds=settings.timing.scan_seconds,
        )


def main() -> int:
    """Entry point of `penstock service reaper`."""
    return start("reaper", ReaperSettings, body)


if __name__ == "__main__":
    sys.exit(main())
