"""`penstock status republish`."""

from __future__ import annotations

import os
import socket

import click

from penstock.cli import exit_codes
from penstock.cli.extras import extra
from penstock.cli.output import json_flag, print_json
from penstock.cli.target import target_settings
from penstock.runtime.settings import KafkaSettings, PostgresSettings

JOBS_A_PAGE = 200
HOUR_SECONDS = 3600.0


@click.group()
def status() -> None:
    """Publish status records again."""


@status.command()
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=24.0, show_default=True)
@json_flag
def republish(hours: float, as_json: bool) -> int:
    """Publish the status records of the last hours once more, from the history in Postgres.

    For whoever lost what the status topics had. The records have the header `replayed`; their versions are
    the original ones, so that readers take them twice as once. After a loss of Kafka itself the reaper does
    this without being told.
    """
    with extra("services"):
        from penstock.kafka import publish
        from penstock.kafka.producer import Producer
        from penstock.store.changes import Changes
        from penstock.store.clusters import history
        from penstock.store.database import Database

    kafka, postgres = target_settings(KafkaSettings), target_settings(PostgresSettings)
    db = Database(postgres.postgres_dsn, "penstock-status")
    actor = f"status/{socket.gethostname()}-{os.getpid()}"
    counts = {"pipelines": 0, "jobs": 0}
    with Producer(kafka, "penstock-status") as sender:
        for page in history(db, hours * HOUR_SECONDS, JOBS_A_PAGE):
            changes = Changes(pipelines=page.pipelines, jobs=page.jobs)
            sender.send(publish.records(changes, actor, replayed=True))
            counts["pipelines"] += len(page.pipelines)
            counts["jobs"] += len(page.jobs)
    db.close()
    if as_json:
        print_json({"records": counts})
    else:
        click.echo(f"published {counts['pipelines']:,} records of pipelines and {counts['jobs']:,} of jobs")
    return exit_codes.OK
