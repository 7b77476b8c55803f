from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from penstock.core.errors import RetryLater
from penstock.events import jobs, logs, topics, workers
from penstock.events.codec import encode
from penstock.events.envelope import header
from penstock.events.jobs import Grant, Report, Reports
from penstock.events.workers import Control, Grants, Heartbeat, Offer, Settled
from penstock.kafka.memory import MemoryBus, MemoryTailSource
from penstock.kafka.partitioner import partition_for
from penstock.kafka.records import Outgoing
from penstock.testing.clock import ManualClock
from penstock_services.runner.kafka_transport import KafkaTransport

SESSION = "0190a5d0-0000-7000-8000-000000000001"
OTHER = "0190a5d0-0000-7000-8000-000000000002"


class Wired:
    def __init__(self, transport: KafkaTransport, bus: MemoryBus) -> None:
        self.transport = transport
        self.bus = bus
        self.grants: asyncio.Queue[Grants] = asyncio.Queue()
        self.controls: asyncio.Queue[Control] = asyncio.Queue()

    def send(self, topic: topics.Topic, key: str, value: bytes) -> None:
        self.bus.sender().send([Outgoing(topic.name, key, value, [])])


def in_loop(body: Callable[[Wired], Coroutine[Any, Any, None]], partitions: int = 2) -> None:
    async def whole() -> None:
        bus = MemoryBus(partitions)
        own = [
            (topic.name, partition_for(SESSION, partitions))
            for topic in (topics.WORKERS_GRANTS, topics.WORKERS_CONTROL)
        ]
        transport = KafkaTransport(
            SESSION, bus.sender(), bus.sender(), lambda _: bus.tail(partitions=own), ManualClock()
        )
        wired = Wired(transport, bus)
        await transport.start(wired.grants.put_nowait, wired.controls.put_nowait, lambda: None)
        try:
            await body(wired)
        finally:
            await transport.close()

    asyncio.run(whole())


def test_hears_its_own_grants_and_control_only(new_grant: Callable[..., Grant]) -> None:
    async def body(it: Wired) -> None:
        grant = new_grant()
        it.send(topics.WORKERS_GRANTS, OTHER, encode(Grants(OTHER, 1, [])))
        it.send(topics.WORKERS_GRANTS, SESSION, encode(Grants(SESSION, 4, [grant])))
        it.send(topics.WORKERS_CONTROL, OTHER, encode(Control(OTHER)))
        it.send(
            topics.WORKERS_CONTROL,
            SESSION,
            encode(Control(SESSION, settled=[Settled("j", 1, "ended", True)])),
        )
        assert await it.grants.get() == Grants(SESSION, 4, [grant])
        assert (await it.controls.get()).settled == [Settled("j", 1, "ended", True)]
        assert it.grants.empty()
        assert it.controls.empty()

    in_loop(body, partitions=1)


def test_a_record_that_cannot_be_read_is_skipped() -> None:
    async def body(it: Wired) -> None:
        it.send(topics.WORKERS_GRANTS, SESSION, b"{")
        it.send(topics.WORKERS_GRANTS, SESSION, encode(Grants(SESSION, 1, [])))
        assert (await it.grants.get()).n == 1

    in_loop(body)


def test_every_record_has_its_key_and_envelope() -> None:
    async def body(it: Wired) -> None:
        await it.transport.heartbeat(Heartbeat(SESSION, 3, "r", "blue", 2))
        await it.transport.offer(Offer(SESSION, 3, "blue", 2))
        await it.transport.reports(
            [Reports(p, SESSION, [Report("j", 1, "t", "ended")]) for p in ("p1", "p2")]
        )
        head = logs.FrameHead("default", "j", 1, SESSION, 5, 2, 10, 1, 2, True)
        await it.transport.frames([(head, b"zstd")])

        (beat,) = it.bus.records(topics.WORKERS_HEARTBEATS.name)
        assert (beat.key, header(beat.headers, "ce_id")) == (SESSION.encode(), f"{SESSION}/3")
        assert header(beat.headers, "ce_type") == workers.HEARTBEAT_TYPE
        assert workers.heartbeat.decode(beat.value).n == 3
        (offer,) = it.bus.records(topics.WORKERS_OFFERS.name)
        assert (offer.key, workers.offer.decode(offer.value).slots) == (b"blue", 2)
        reports = it.bus.records(topics.JOBS_REPORTS.name)
        assert {record.key for record in reports} == {b"p1", b"p2"}
        assert {jobs.reports.decode(record.value).session_id for record in reports} == {SESSION}
        assert len({header(record.headers, "ce_id") for record in [*reports, offer]}) == 3
        (frame,) = it.bus.records(topics.LOGS_FRAMES.name)
        assert (frame.key, frame.value) == (b"j", b"zstd")
        assert logs.frame_head(frame.headers) == head
        assert header(frame.headers, "content-type") == "application/x-ndjson+zstd"
        assert header(frame.headers, "ce_id") == "j/1/5"

    in_loop(body)


def test_a_carrier_that_began_anew_is_told_in_the_loop() -> None:
    async def body() -> None:
        bus, told = MemoryBus(), asyncio.Event()
        hooks: list[Callable[[], None]] = []

        def open_source(moved: Callable[[], None]) -> MemoryTailSource:
            hooks.append(moved)
            return bus.tail([topics.WORKERS_CONTROL.name])

        transport = KafkaTransport(SESSION, bus.sender(), bus.sender(), open_source, ManualClock())
        await transport.start(lambda _: None, lambda _: None, told.set)
        await asyncio.to_thread(hooks[0])
        await told.wait()
        await transport.close()

    asyncio.run(body())


def test_what_is_not_acknowledged_is_said() -> None:
    async def body(it: Wired) -> None:
        it.bus.away = True
        with pytest.raises(RetryLater):
            await it.transport.heartbeat(Heartbeat(SESSION, 1, "r", "blue", 2))

    in_loop(body)


def test_the_end_of_listening_is_an_error() -> None:
    async def body(it: Wired) -> None:
        it.transport.failed("runner", RuntimeError("gone"))
        with pytest.raises(RuntimeError, match="gone"):
            await it.transport.watch()

    in_loop(body)
