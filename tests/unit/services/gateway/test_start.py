"""Starting without Kafka: the gateway serves all the same, and meets Kafka when it comes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator

import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.events.topics import LOGS_FRAMES
from penstock.kafka.memory import MemoryBus
from penstock.kafka.partitioner import require_partitions
from penstock_services.gateway import __main__ as composition
from penstock_services.gateway import watch
from penstock_services.gateway.gateway import Gateway


@pytest.fixture(autouse=True)
def _quick(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(watch, "RECONNECT_SECONDS", 0.001)
    monkeypatch.setattr(composition, "MEET_SECONDS", 0.001)
    bus.away = True
    yield
    gc.unfreeze()  # a process that is ready freezes what it made so far


class Kafka:
    """The bus, for a gateway that was told a number of partitions."""

    def __init__(self, bus: MemoryBus, told: int) -> None:
        self._bus = bus
        self._told = told
        self._loop = asyncio.get_running_loop()
        self.tries = 0
        self.met = asyncio.Event()

    def meet(self) -> None:
        """It needs a second try after it came back."""
        self.tries += 1
        if self.tries < 3:
            raise RetryLater("no broker answers", component="kafka")
        require_partitions(self._bus.sender(), LOGS_FRAMES.name, self._told)
        self._loop.call_soon_threadsafe(self.met.set)


async def until_ready(gateway: Gateway) -> None:
    while not gateway.process.is_ready():  # noqa: ASYNC110 - a process has no event for it
        await asyncio.sleep(0.001)


async def test_it_goes_on_when_kafka_is_as_told(bus: MemoryBus, make_gateway: Callable[..., Gateway]) -> None:
    gateway, kafka = make_gateway(), Kafka(bus, told=4)
    serving = asyncio.create_task(composition.serve(gateway, kafka.meet))
    await until_ready(gateway)
    assert kafka.tries == 1
    bus.away = False
    await kafka.met.wait()
    assert not serving.done()
    gateway.process.stop()
    await serving


async def test_another_number_of_partitions_stops_it_also_later(
    bus: MemoryBus, make_gateway: Callable[..., Gateway]
) -> None:
    gateway, kafka = make_gateway(), Kafka(bus, told=8)
    serving = asyncio.create_task(composition.serve(gateway, kafka.meet))
    await until_ready(gateway)
    bus.away = False
    with pytest.raises(StopProcess, match=r"has 4 partitions and PENSTOCK_KAFKA_PARTITIONS is 8"):
        await serving


async def test_it_stops_while_kafka_is_away(make_gateway: Callable[..., Gateway], bus: MemoryBus) -> None:
    gateway, kafka = make_gateway(), Kafka(bus, told=4)
    serving = asyncio.create_task(composition.serve(gateway, kafka.meet))
    await until_ready(gateway)
    gateway.process.stop()
    await serving
    assert kafka.tries == 1
