"""How long an answer to a new pipeline waits (interface §5), on a clock that leaps to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from penstock.events.pipelines import PipelineRequested
from penstock.kafka.memory import MemoryBus
from penstock_services.gateway import acceptance
from penstock_services.gateway.gateway import Gateway

ONE = {"jobs": {"a": {"executor": "noop"}}}


class Leap(selectors.DefaultSelector):
    """Where the loop would wait, its time passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.passed += max(0.0, timeout or 0.0)
        return super().select(0)


class LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leap = Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.passed


@pytest.mark.parametrize("patience", [2.0, 0.25])
def test_without_kafka_the_wait_for_the_feed_is_part_of_the_wait(
    bus: MemoryBus, make_gateway: Callable[..., Gateway], patience: float
) -> None:
    bus.away = True
    requested = PipelineRequested(tenant="acme", request_id="one", definition=ONE)

    async def submit() -> tuple[web.Response, float]:
        gateway = make_gateway(PENSTOCK_ACCEPTANCE_WAIT_SECONDS=str(patience))
        answer = await acceptance.submit(gateway, requested, "")
        return answer, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        answer, took = runner.run(submit())
    assert answer.status == 202
    assert took == pytest.approx(patience)
