"""The feed of status records: filtered, shared, bounded, connected again."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.kafka.memory import MemoryBus
from penstock.kafka.ports import Source
from penstock.kafka.records import Outgoing
from penstock_services.gateway import watch
from penstock_services.gateway.watch import KEPT, TOPICS, Follower, News, Watch


def status(pipeline_id: str, version: int = 1, **more: Any) -> Outgoing:
    record = {
        "tenant": "acme", "pipeline_id": pipeline_id, "version": version, "state": "PENDING",
        "terminal": False, "at": "2026-11-22T08:00:00.000001Z", **more,
    }  # fmt: skip
    return Outgoing(TOPICS[0], pipeline_id, orjson.dumps(record), [])


def broken(*_: Any) -> Any:
    raise RuntimeError("fatal")


async def test_each_follower_gets_what_it_follows() -> None:
    bus = MemoryBus()
    watched = Watch(lambda: bus.tail(TOPICS))
    running = asyncio.create_task(watched.run())
    await watched.connected.wait()
    async with watched.follow("a") as one, watched.follow("a") as two, watched.follow("b") as three:
        bus.sender().send(
            [status("a", 1), status("c", 1), status("b", 7), Outgoing(TOPICS[0], "a", b"{", [])]
        )
        for follower, version in ((one, 1), (two, 1), (three, 7)):
            news = await follower.next(30)
            assert news is not None
            assert news.version == version
            assert orjson.loads(news.raw)["version"] == version
        assert await one.next(0.01) is None
    assert not watched.wanted(b"a")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_topic_that_was_there_comes_back(monkeypatch: Any) -> None:
    monkeypatch.setattr(watch, "RECONNECT_SECONDS", 0.001)
    bus = MemoryBus()
    found: list[Source | StopProcess] = [bus.tail(TOPICS), StopProcess("missing"), bus.tail(TOPICS)]
    monkeypatch.setattr(found[0], "poll", broken)

    def connect() -> Source:
        one = found.pop(0)
        if isinstance(one, StopProcess):
            raise one
        return one

    watched = Watch(connect)
    running = asyncio.create_task(watched.run())
    async with watched.follow("a") as follower:
        while found or not watched.connected.is_set():  # noqa: ASYNC110 - the last of three connections
            await asyncio.sleep(0.001)
        bus.sender().send([status("a")._replace(headers=[("replayed", b"1")]), status("a", 2)])
        news = await follower.next(30)
        assert news is not None
        assert news.version == 2, "what is published again is skipped"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    found = [StopProcess("missing")]
    with pytest.raises(StopProcess):
        await Watch(connect).run()


async def test_it_connects_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(watch, "RECONNECT_SECONDS", 0.001)
    bus = MemoryBus()
    tries = 0

    def connect() -> Source:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RetryLater("kafka: away", component="kafka")
        source = bus.tail(TOPICS)
        if tries == 3:
            monkeypatch.setattr(source, "poll", broken)
        return source

    watched = Watch(connect)
    running = asyncio.create_task(watched.run())
    async with watched.follow("a") as follower:
        while True:
            await watched.connected.wait()
            bus.sender().send([status("a")])
            if await follower.next(0.02) is not None:
                break
    assert tries >= 4
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_feed_that_nobody_follows_is_closed_until_somebody_does() -> None:
    bus = MemoryBus()
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    opened = 0

    def connect() -> Source:
        nonlocal opened
        opened += 1
        source = bus.tail(TOPICS)
        source.close = lambda: loop.call_soon_threadsafe(closed.set)  # type: ignore[method-assign, assignment]
        return source

    watched = Watch(connect, idle_seconds=0.001)
    running = asyncio.create_task(watched.run())
    await closed.wait()
    assert opened == 1
    assert not watched.connected.is_set()
    async with watched.follow("a") as follower:
        await watched.connected.wait()
        bus.sender().send([status("a")])
        assert await follower.next(30) is not None
        await asyncio.sleep(0.01)
        assert watched.connected.is_set()
    assert opened == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_slow_follower_misses_and_knows_it() -> None:
    follower = Follower()
    news = News("acme", "a", 1, "PENDING", False, "")
    for _ in range(KEPT):
        follower.put(news)
    assert not follower.missed
    follower.put(news)
    assert follower.missed
