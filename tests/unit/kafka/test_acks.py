"""An acknowledgement that a coroutine waits for, or no longer does."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from penstock.core.errors import RetryLater
from penstock.kafka.acks import awaitable


async def test_it_comes_from_another_thread() -> None:
    acked, done = awaitable()
    await asyncio.to_thread(done, None)
    await acked


async def test_an_error_is_raised_where_it_is_waited_for() -> None:
    acked, done = awaitable()
    done(RetryLater("away", component="kafka"))
    with pytest.raises(RetryLater, match="away"):
        await acked


async def test_an_error_that_nobody_waits_for_is_nobodys() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    acked, done = awaitable()
    done(RetryLater("away", component="kafka"))
    await asyncio.sleep(0)
    assert acked.done()
    del acked
    gc.collect()
    await asyncio.sleep(0)
    assert told == []


async def test_who_no_longer_waits_is_not_woken() -> None:
    acked, done = awaitable()
    acked.cancel()
    done(None)
    await asyncio.sleep(0)
    assert acked.cancelled()
