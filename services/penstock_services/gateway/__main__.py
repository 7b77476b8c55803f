"""Composition of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from penstock.core.errors import RetryLater
from penstock.events.topics import LOGS_FRAMES
from penstock.kafka.partitioner import require_partitions
from penstock.kafka.producer import Producer
from penstock.kafka.tail import TailSource
from penstock.objects.definitions import StoredDefinitions
from penstock.objects.s3 import S3Objects
from penstock.runtime.log import logger
from penstock.runtime.run import Process, start
from penstock.store.pool import Pool
from penstock_services.gateway.app import make_app
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.server import listening
from penstock_services.gateway.settings import GatewaySettings
from penstock_services.gateway.shelf import LogShelf, tail_session
from penstock_services.gateway.watch import TOPICS, Watch

LOG_CALL_SECONDS = 60.0
"""A read of a stored log also waits for the object storage."""
WARM_UP_SECONDS = 5.0
"""How long Kafka may keep it from being ready: a gateway without Kafka is better than none."""
MEET_SECONDS = 1.0
"""Pause before it is tried again to meet Kafka."""
BEAT_SECONDS = 1.0
THREADS = 32
"""For checks of definitions and for the object storage."""

log = logger(__name__)


def body(process: Process, settings: GatewaySettings) -> None:
    """Run until told to stop."""
    dsn, name = settings.postgres.postgres_dsn, f"penstock-{process.instance}"
    with (
        contextlib.closing(Pool(dsn, name, size=settings.gateway_connections)) as pool,
        contextlib.closing(
            Pool(dsn, f"{name}-logs", size=settings.gateway_log_connections, call_seconds=LOG_CALL_SECONDS)
        ) as log_pool,
        contextlib.closing(Producer(settings.kafka, process.instance)) as producer,
    ):
        asyncio.run(_compose(process, settings, pool, log_pool, producer))


async def _compose(
    process: Process, settings: GatewaySettings, pool: Pool, log_pool: Pool, producer: Producer
) -> None:
    objects = S3Objects(settings.objects, threads=THREADS)
    async with tail_session() as session:
        gateway = Gateway(
            settings=settings,
            process=process,
            pool=pool,
            sender=producer,
            definitions=StoredDefinitions(objects),
            watch=Watch(lambda: TailSource(settings.kafka, TOPICS, name=process.instance)),
            logs=LogShelf(
                log_pool,
                objects,
                session,
                settings.kafka.kafka_partitions,
                settings.logs.log_close_seconds,
            ),
        )

        def meet_kafka() -> None:
            producer.warm_up(seconds=WARM_UP_SECONDS)
            require_partitions(producer, LOGS_FRAMES.name, settings.kafka.kafka_partitions)

        await serve(gateway, meet_kafka)


async def serve(gateway: Gateway, meet_kafka: Callable[[], None]) -> None:
    """Listen until the process is told to stop; then finish the calls that are in hand.

    Raises:
        StopProcess: the address cannot be bound, a topic is missing or has other partitions than expected.
    """
    process, settings = gateway.process, gateway.settings
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, "gateway"))
    stop = asyncio.Event()

    def told_to_stop() -> None:
        loop.call_soon_threadsafe(stop.set)

    process.on_stop(told_to_stop)
    duties = [
        asyncio.create_task(gateway.watch.run()),
        asyncio.create_task(_beat(process)),
        asyncio.create_task(stop.wait()),
    ]
    try:
        async with listening(make_app(gateway), settings.gateway_host, settings.gateway_port) as port:
            log.info("listening", host=settings.gateway_host, port=port)
            if await _met(meet_kafka):
                await _warm_up(gateway)
            else:
                duties.append(asyncio.create_task(_meet_later(gateway, meet_kafka, stop)))
            process.ready()
            ended, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
        for duty in ended:
            duty.result()
    finally:
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)


async def _met(meet_kafka: Callable[[], None]) -> bool:
    """Whether Kafka was there to be met."""
    try:
        await asyncio.to_thread(meet_kafka)
    except RetryLater as error:
        log.warning("kafka not met yet", error=str(error))
        return False
    return True


async def _meet_later(gateway: Gateway, meet_kafka: Callable[[], None], stop: asyncio.Event) -> None:
    """What the start could not do; the feed tries all the time, and tells when a broker is there.

    Raises:
        StopProcess: what Kafka has is not what this gateway reckons with.
    """
    await gateway.watch.connected.wait()
    while not await _met(meet_kafka):  # noqa: ASYNC110 - a broker has no event
        await asyncio.sleep(MEET_SECONDS)
    log.info("kafka met")
    await stop.wait()  # the end of a duty ends the gateway


async def _warm_up(gateway: Gateway) -> None:
    """Wait for the feed of status records, but not forever: it goes on trying."""
    try:
        await asyncio.wait_for(gateway.watch.connected.wait(), WARM_UP_SECONDS)
    except TimeoutError:
        log.warning("ready without status records")


async def _beat(process: Process) -> None:
    while True:
        process.beat()
        await asyncio.sleep(BEAT_SECONDS)


def main() -> int:
    """Entry point of `penstock service gateway`."""
    return start("gateway", GatewaySettings, body)


if __name__ == "__main__":
    sys.exit(main())
