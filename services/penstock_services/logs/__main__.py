"""Composition of the logs service."""

from __future__ import annotations

import sys

from penstock.core.ids import uuid7
from penstock.events.topics import LOGS_FRAMES
from penstock.kafka.consumer import GroupSource
from penstock.kafka.partitioner import require_partitions
from penstock.kafka.producer import Producer
from penstock.objects.s3 import S3Objects
from penstock.runtime.run import Process, start
from penstock.store.database import Database
from penstock_services.logs.loop import GROUP
from penstock_services.logs.settings import LogsSettings
from penstock_services.logs.wiring import wired


def body(process: Process, settings: LogsSettings) -> None:
    """Run until told to stop."""
    dsn = settings.postgres.postgres_dsn
    objects = S3Objects(settings.objects, threads=settings.chunks.log_put_threads)
    with (
        Producer(settings.kafka, name=process.instance) as producer,
        wired(
            process,
            settings,
            session_id=uuid7(process.clock.now()),
            sender=producer,
            objects=objects,
            connect=lambda use: Database(dsn, f"penstock-{process.instance}-{use}"),
            cluster_id=lambda: source.cluster_id(),  # noqa: PLW0108 - it is made below
        ) as loop,
    ):
        require_partitions(producer, LOGS_FRAMES.name, settings.kafka.kafka_partitions)
        source = GroupSource(
            settings.kafka,
            [LOGS_FRAMES.name],
            GROUP,
            on_assigned=loop.on_assigned,
            on_revoked=loop.on_revoked,
        )
        loop.run(source, settings.chunks.log_drain_seconds)


def main() -> int:
    """Entry point of `penstock service logs`."""
    return start("logs", LogsSettings, body)


if __name__ == "__main__":
    sys.exit(main())
