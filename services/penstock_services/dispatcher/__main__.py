"""Composition of the dispatcher, and its loop: take in what came, grant, sweep when it is time."""

from __future__ import annotations

import sys

from penstock.core.errors import RetryLater
from penstock.events import topics
from penstock.kafka.consumer import GroupSource
from penstock.kafka.feeds import Feeds
from penstock.kafka.partitioner import require_partitions
from penstock.kafka.producer import Producer
from penstock.kafka.tail import TailSource
from penstock.runtime.log import logger
from penstock.runtime.run import Process, start
from penstock.store.database import Database
from penstock_services.dispatcher.handle import Dispatcher
from penstock_services.dispatcher.settings import DispatcherSettings
from penstock_services.dispatcher.sweeps import Sweeps

IDLE_SECONDS = 0.1
RETRY_SECONDS = 0.5
FLUSH_SECONDS = 1.0

log = logger(__name__)


def body(process: Process, settings: DispatcherSettings) -> None:
    """Run until told to stop."""
    db = Database(settings.postgres.postgres_dsn, f"penstock-{process.instance}")
    timing = settings.timing
    ready = [topic.name for topic in topics.JOBS_READY.values()]
    hints = TailSource(settings.kafka, ready, start=timing.session_ttl_seconds, name=process.instance)
    beats = TailSource(
        settings.kafka,
        [topics.WORKERS_HEARTBEATS.name],
        start=timing.session_ttl_seconds,
        name=f"{process.instance}-heartbeats",
        gather_seconds=timing.gather_seconds,
    )
    offers = GroupSource(settings.kafka, [topics.WORKERS_OFFERS.name], "penstock-dispatcher")
    feeds = Feeds({"hints": hints, "heartbeats": beats, "offers": offers})
    with Producer(settings.kafka, name=process.instance) as producer:
        require_partitions(producer, topics.WORKERS_OFFERS.name, settings.kafka.kafka_partitions)
        dispatcher = Dispatcher(
            db, producer, settings, actor=process.instance, clock=process.clock, metrics=process.metrics
        )
        feeds.start()
        try:
            _loop(process, feeds, dispatcher, offers, timing.sweep_seconds)
        finally:
            feeds.close()


def _loop(
    process: Process, feeds: Feeds, dispatcher: Dispatcher, offers: GroupSource, sweep_seconds: float
) -> None:
    clock = process.clock
    sweeps = Sweeps(dispatcher.sweep, sweep_seconds)
    next_flush = clock.monotonic()
    while not process.stopping.is_set():
        process.beat()
        got = feeds.get(0 if sweeps.under_way else IDLE_SECONDS)
        while got is not None:
            dispatcher.take(got[1])
            feeds.commit(*got)
            got = feeds.get(0)
        try:
            # Of pools that came nothing is granted before all that runs and waits there is known.
            sweeps.turn(clock.monotonic(), whole=dispatcher.own(offers.assignment()))
            while dispatcher.grant():
                pass
            if clock.monotonic() >= next_flush:
                dispatcher.flush()
                next_flush = clock.monotonic() + FLUSH_SECONDS
        except RetryLater as error:
            log.warning("put off", error=str(error), component=error.component)
            clock.sleep(RETRY_SECONDS, process.stopping)
        if not process.is_ready() and feeds.positioned():
            process.ready()


def main() -> int:
    """Entry point of `penstock service dispatcher`."""
    return start("dispatcher", DispatcherSettings, body)


if __name__ == "__main__":
    sys.exit(main())
