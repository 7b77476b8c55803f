"""The HTTP server of live logs, on memory and a model of the index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.kafka.partitioner import partition_for
from penstock.objects.memory import MemoryObjects
from penstock.store.logs import LogKey, LogState
from penstock.testing.log_frames import as_read, frame, log_lines
from penstock.testing.log_index import ModelIndex
from penstock_services.logs.archive import put_chunks
from penstock_services.logs.decide import Limits
from penstock_services.logs.frames import read_frame
from penstock_services.logs.library import Library
from penstock_services.logs.memory import Memory
from penstock_services.logs.settings import TailSettings
from penstock_services.logs.tail import TailServer

JOB = "01890000-0000-7000-8000-000000000001"
KEY = (JOB, 1)
PARTITIONS = 4
HERE = partition_for(JOB, PARTITIONS)


class OwnedIndex(ModelIndex):
    """Knows one owner; may be away."""

    away = False

    def states(self, keys: Sequence[LogKey]) -> dict[LogKey, LogState]:
        if self.away:
            raise RetryLater("away", component="postgres")
        return super().states(keys)

    def owner(self, partition: int) -> str | None:
        if self.away:
            raise RetryLater("away", component="postgres")
        return "other:1"


class Scene:
    """A server that owns the partition of one job."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.memory = Memory(Limits(400, 10, 30), 1024 * 1024)
        self.memory.assign([HERE])
        self.index = OwnedIndex()
        self.objects = MemoryObjects()
        self.library = Library(self.memory, self.index, self.objects, threads, 60)
        self.server = TailServer(TailSettings(), self.library, PARTITIONS)
        self.server.start()
        self._offset = 0

    def write(self, first: int, last: int, *, end: bool = False) -> None:
        record = as_read(frame(JOB, first, last, end=end), self._offset, HERE)
        self._offset += 1
        self.memory.read(record)
        self.memory.take(read_frame(record, 0.0))
        self.server.changed({KEY})

    def store(self) -> None:
        self.memory.know({KEY: self.index.heads([KEY])[KEY]})
        for cut in self.memory.cuts(99, 8):
            self.index.index([put_chunks(self.objects, cut, "")])
            self.memory.stored(cut, cut.after(), won=True)

    def url(self, query: str = "follow=1") -> str:
        return f"http://{self.server.address}/v1/tail/{JOB}/1?{query}"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ThreadPoolExecutor(2) as threads:
        found = Scene(threads)
        yield found
        found.server.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
        yield session


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - in another thread
            await asyncio.sleep(0)


async def test_lines_then_the_end(scene: Scene, http: aiohttp.ClientSession) -> None:
    scene.index.ended[KEY] = ("SUCCESS", 7, 1.0)
    scene.write(1, 5)
    async with http.get(scene.url()) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        assert await answer.content.readexactly(len(log_lines(1, 5))) == log_lines(1, 5)
        scene.write(6, 7, end=True)
        assert await answer.content.read() == (
            log_lines(6, 7) + b'{"end":true,"last_seq":7,"state":"SUCCESS"}\n'
        )


async def test_without_follow_there_may_be_nothing(scene: Scene, http: aiohttp.ClientSession) -> None:
    async with http.get(scene.url("")) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_whose_the_partition_is(scene: Scene, http: aiohttp.ClientSession) -> None:
    scene.memory.revoke([HERE])
    async with http.get(scene.url()) as answer:
        assert answer.status == 421
        assert (await answer.json())["owner"] == "other:1"
    scene.index.away = True
    async with http.get(scene.url()) as answer:
        assert (answer.status, (await answer.json())["owner"]) == (421, None)


async def test_who_cannot_be_served_now_is_told(scene: Scene, http: aiohttp.ClientSession) -> None:
    scene.index.away = True
    async with http.get(scene.url("")) as answer:
        assert answer.status == 503
        assert "error" in await answer.json()
    scene.index.away = False
    scene.write(1, 5)
    scene.store()
    scene.objects.away = True
    async with http.get(scene.url()) as answer:
        assert answer.status == 503


async def test_a_revoked_partition_hangs_up(scene: Scene, http: aiohttp.ClientSession) -> None:
    scene.write(1, 5)
    async with http.get(scene.url()) as answer:
        await answer.content.readexactly(len(log_lines(1, 5)))
        scene.server.revoked({HERE + 1})
        scene.write(6, 6)
        await answer.content.readexactly(len(log_lines(6, 6)))
        scene.server.revoked({HERE})
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()


async def test_a_stopping_server_hangs_up(scene: Scene, http: aiohttp.ClientSession) -> None:
    async with http.get(scene.url()) as answer:
        await asyncio.to_thread(scene.server.close)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
    scene.server = TailServer(TailSettings(), scene.library, PARTITIONS)
    scene.server.start()


async def test_a_reader_that_went_away_is_forgotten(scene: Scene, http: aiohttp.ClientSession) -> None:
    async with http.get(scene.url()):
        await until(lambda: scene.library.watch.watched({KEY}) == [KEY])
    await until(lambda: scene.library.watch.watched({KEY}) == [])


def test_a_busy_port_is_named(scene: Scene) -> None:
    port = int(scene.server.address.rpartition(":")[2])
    server = TailServer(TailSettings(tail_port=port), scene.library, PARTITIONS)
    with pytest.raises(StopProcess, match="PENSTOCK_TAIL_PORT"):
        server.start()


def test_another_address_may_be_told(scene: Scene) -> None:
    server = TailServer(TailSettings(tail_address="logs-0:8000"), scene.library, PARTITIONS)
    server.start()
    assert server.address == "logs-0:8000"
    server.close()
