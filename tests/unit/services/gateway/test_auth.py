"""Tokens while Postgres is away: good for a while, if they were good."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from penstock.core.errors import RetryLater
from penstock.store.pool import Pool
from penstock.store.tenants import Identity
from penstock.testing.clock import ManualClock
from penstock_services.gateway.auth import Gate
from penstock_services.gateway.problems import HttpProblem

GRACE = 600.0


class FakePool:
    def __init__(self) -> None:
        self.away = False
        self.known = {"good": Identity("acme", ("read",), "1")}

    async def run(self, _function: Any, token: str) -> Identity | None:
        if self.away:
            raise RetryLater("postgres: away", component="postgres")
        return self.known.get(token)


def request(token: str) -> Any:
    return make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {token}"})


async def test_grace() -> None:
    pool, clock = FakePool(), ManualClock()
    gate = Gate(cast(Pool, pool), clock, GRACE)
    await gate.admit(request("good"), "read")
    pool.away = True
    clock.advance(GRACE)
    assert (await gate.admit(request("good"), "read")).tenant == "acme"
    with pytest.raises(RetryLater):
        await gate.admit(request("other"), "read")
    clock.advance(1)
    with pytest.raises(RetryLater):
        await gate.admit(request("good"), "read")


async def test_what_was_revoked_is_not_remembered() -> None:
    pool, clock = FakePool(), ManualClock()
    gate = Gate(cast(Pool, pool), clock, GRACE)
    await gate.admit(request("good"), "read")
    del pool.known["good"]
    with pytest.raises(HttpProblem) as caught:
        await gate.admit(request("good"), "read")
    assert caught.value.status == 401
    pool.away = True
    with pytest.raises(RetryLater):
        await gate.admit(request("good"), "read")
