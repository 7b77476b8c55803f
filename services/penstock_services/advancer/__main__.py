"""Composition of the advancer."""

from __future__ import annotations

import sys

from penstock.events import topics
from penstock.kafka.consumer import GroupSource
from penstock.kafka.loop import run_loop
from penstock.kafka.producer import Producer
from penstock.runtime.run import Process, start
from penstock.store.database import Database
from penstock.store.jobs import Policy
from penstock_services.advancer.handle import TICK_SECONDS, Advancer
from penstock_services.advancer.settings import AdvancerSettings


def body(process: Process, settings: AdvancerSettings) -> None:
    """Run until told to stop."""
    db = Database(settings.postgres.postgres_dsn, f"penstock-{process.instance}")
    policy = Policy(settings.retry.retry_base_seconds, settings.retry.retry_cap_seconds)
    advancer = Advancer(
        db,
        actor=process.instance,
        ttl_seconds=settings.timing.session_ttl_seconds,
        policy=policy,
        metrics=process.metrics,
    )
    with Producer(settings.kafka, name=process.instance) as producer:
        source = GroupSource(settings.kafka, [topics.JOBS_REPORTS.name], "penstock-advancer")
        run_loop(process, source, advancer.step, producer, tick=advancer.tick, tick_seconds=TICK_SECONDS)


def main() -> int:
    """Entry point of `penstock service advancer`."""
    return start("advancer", AdvancerSettings, body)


if __name__ == "__main__":
    sys.exit(main())
