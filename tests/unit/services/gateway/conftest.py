"""A gateway whose servers are there or away as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from penstock.core.errors import RetryLater
from penstock.kafka.memory import MemoryBus
from penstock.kafka.ports import Source
from penstock.runtime.run import Process
from penstock.runtime.settings import load
from penstock.store import requests
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.settings import GatewaySettings
from penstock_services.gateway.watch import TOPICS, Watch


class UndecidedPool:
    """A Postgres that keeps every request and never hears of a decision."""

    async def run(self, function: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return {"outcome": "new"} if function is requests.receive else {"state": "RECEIVED"}


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(partitions=4)


@pytest.fixture
def make_gateway(bus: MemoryBus) -> Callable[..., Gateway]:
    """Makes one; words are settings. Nothing but its parts for status records and requests may be used."""

    def connect() -> Source:
        if bus.away:
            raise RetryLater("the bus is away", component="kafka")
        return bus.tail(TOPICS)

    def make(**more: str) -> Gateway:
        needed = {
            "PENSTOCK_KAFKA_BOOTSTRAP": "k:1",
            "PENSTOCK_POSTGRES_DSN": "postgresql://p",
            "PENSTOCK_S3_ACCESS_KEY": "a",
            "PENSTOCK_S3_SECRET_KEY": "b",
        }
        nothing = cast("Any", None)
        return Gateway(
            settings=load(GatewaySettings, {**needed, **more}),
            process=Process("gateway", "gateway-0"),
            pool=cast("Any", UndecidedPool()),
            sender=bus.sender(),
            definitions=nothing,
            watch=Watch(connect),
            logs=nothing,
        )

    return make
