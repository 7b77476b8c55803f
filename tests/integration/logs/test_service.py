"""The whole service in this process: Postgres is real, Kafka and the object storage are in memory."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import msgspec
import psutil
import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.core.ids import uuid7
from penstock.events import topics
from penstock.events.workers import Stored, control
from penstock.kafka.dlq import origin
from penstock.kafka.memory import MemoryBus
from penstock.kafka.partitioner import partition_for
from penstock.kafka.records import Outgoing
from penstock.logs.reading import end_of, stored_lines
from penstock.logs.settings import LogSettings
from penstock.objects.memory import MemoryObjects
from penstock.runtime.run import Process
from penstock.runtime.settings import KafkaSettings, ObjectSettings, PostgresSettings, ProcessSettings
from penstock.store import logs, workers
from penstock.store.database import Database
from penstock.testing.graphs import World
from penstock.testing.log_frames import SESSION, frame, log_line, log_lines
from penstock_services.logs.loop import GROUP, TOPIC
from penstock_services.logs.settings import ChunkSettings, LogsSettings, TailSettings
from penstock_services.logs.wiring import wired

PARTITIONS = 4
SECONDS = 90.0
CHUNKS = ChunkSettings(log_chunk_seconds=0.2, log_gap_seconds=0.5, log_sweep_seconds=0.1)


class FlakyDatabase(Database):
    """A connection that can be cut."""

    away = threading.Event()

    def rows(self, statement, params=()):  # type: ignore[no-untyped-def]
        if self.away.is_set():
            raise RetryLater("postgres is away", component="postgres")
        return super().rows(statement, params)


class Service:
    """A replica, running in a thread."""

    def __init__(self, bus: MemoryBus, objects: MemoryObjects, dsn: str, settings: LogsSettings) -> None:
        self.process = Process("logs", f"logs-{uuid7(time.time())}")
        self.session_id = uuid7(time.time())
        self.address = ""
        self._bus = bus
        self._objects = objects
        self._dsn = dsn
        self._settings = settings
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self.process.stop()
        self.join()

    def join(self) -> None:
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def lag(self) -> int:
        found = re.search(rb'consumer_lag{topic="penstock.logs.frames"} (\d+)', self.process.metrics.text())
        return int(found[1]) if found else 0

    def _run(self) -> None:
        try:
            with wired(
                self.process,
                self._settings,
                session_id=self.session_id,
                sender=self._bus.sender(),
                objects=self._objects,
                connect=lambda use: FlakyDatabase(self._dsn, use),
                cluster_id=lambda: "memory",
            ) as loop:
                source = self._bus.group(
                    [TOPIC], GROUP, on_assigned=loop.on_assigned, on_revoked=loop.on_revoked
                )
                loop.run(source, self._settings.chunks.log_drain_seconds)
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self._error = error


class Scene:
    """A bus, a bucket, a database, and the replicas on them."""

    def __init__(self, dsn: str) -> None:
        self.bus = MemoryBus(PARTITIONS)
        self.objects = MemoryObjects()
        self.db = Database(dsn, "test")
        self._dsn = dsn
        self._replicas = contextlib.ExitStack()
        self.db.rows("UPDATE workers SET state = 'OFFLINE'")

    def start(
        self, chunks: ChunkSettings = CHUNKS, tail: TailSettings | None = None, close_seconds: float = 60.0
    ) -> Service:
        settings = LogsSettings(
            process=ProcessSettings(),
            kafka=KafkaSettings(kafka_bootstrap="", kafka_partitions=PARTITIONS),
            postgres=PostgresSettings(postgres_dsn=self._dsn),
            objects=ObjectSettings(s3_access_key="", s3_secret_key=""),
            logs=LogSettings(log_close_seconds=close_seconds),
            chunks=chunks,
            tail=tail or TailSettings(),
        )
        service = Service(self.bus, self.objects, self._dsn, settings)
        self._replicas.callback(service.stop)
        return service

    def write(self, *frames: Outgoing) -> None:
        self.bus.sender().send(frames)

    def close(self) -> None:
        self._replicas.close()
        self.db.close()

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline, what
            time.sleep(0.01)

    def until_complete(self, job_id: str) -> None:
        self.until(lambda: logs.heads(self.db, [(job_id, 1)])[job_id, 1].complete, f"{job_id} complete")

    def stored(self, job_id: str) -> bytes:
        pieces = stored_lines(
            self.objects, lambda seq: logs.chunks(self.db, job_id, 1, seq), 1, over_gaps=True
        )
        return b"".join(piece.lines for piece in pieces)

    def committed(self, job_id: str) -> int:
        return self.bus.groups[GROUP].committed.get((TOPIC, partition_for(job_id, PARTITIONS)), 0)

    def written(self, job_id: str) -> int:
        return len(self.bus.logs[TOPIC, partition_for(job_id, PARTITIONS)])

    def told(self, session_id: str = SESSION) -> list[Stored]:
        found: list[Stored] = []
        for record in self.bus.records(topics.WORKERS_CONTROL.name):
            if record.key == session_id.encode():
                found += control.decode(record.value).stored
        return found

    def owner(self, job_id: str) -> str:
        found: list[str] = []

        def known() -> bool:
            address = workers.log_owner(self.db, partition_for(job_id, PARTITIONS), seen_within=10)
            found.extend([address] if address else [])
            return bool(found)

        self.until(known, "an owner")
        return found[0]


@pytest.fixture
def scene(postgres_dsn: str) -> Iterator[Scene]:
    found = Scene(postgres_dsn)
    yield found
    FlakyDatabase.away.clear()
    found.objects.away = False
    found.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS)) as session:
        yield session


@pytest.fixture
def job_id() -> str:
    return uuid7(time.time())


def tail(owner: str, job_id: str, query: str = "follow=1") -> str:
    return f"http://{owner}/v1/tail/{job_id}/1?{query}"


def test_frames_become_chunks_and_are_answered(scene: Scene, job_id: str) -> None:
    scene.start()
    scene.write(frame(job_id, 1, 5), frame(job_id, 6, 9), frame(job_id, 10, 9, end=True))
    scene.until_complete(job_id)
    assert scene.stored(job_id) == log_lines(1, 9)
    scene.until(lambda: Stored(job_id, 1, 9) in scene.told(), "an answer")
    scene.until(lambda: scene.committed(job_id) == 3, "a commit")
    chunks = logs.chunks(scene.db, job_id, 1, 1)
    assert {chunk.cluster_id for chunk in chunks} == {"memory"}
    assert [info.key for info in scene.objects.list("logs/")] == [chunk.object_key for chunk in chunks]
    # A repeat, perhaps of another session, is answered and changes nothing.
    scene.write(frame(job_id, 6, 9, session_id="again"))
    scene.until(lambda: scene.told("again") == [Stored(job_id, 1, 9)], "an answer")
    assert logs.chunks(scene.db, job_id, 1, 1) == chunks


def test_many_small_logs(scene: Scene) -> None:
    scene.start()
    jobs = [uuid7(time.time()) for _ in range(200)]
    scene.write(*(frame(job, 1, 3, end=True) for job in jobs))
    for job in jobs:
        scene.until_complete(job)
        assert scene.stored(job) == log_lines(1, 3)


def test_what_is_young_is_stored_when_told_to_stop(scene: Scene, job_id: str) -> None:
    service = scene.start(ChunkSettings(log_chunk_seconds=3600))
    scene.write(frame(job_id, 1, 5))
    scene.until(service.process.is_ready, "ready")
    service.stop()
    assert scene.stored(job_id) == log_lines(1, 5)
    assert scene.committed(job_id) == 1
    assert Stored(job_id, 1, 5) in scene.told()
    assert workers.log_owner(scene.db, partition_for(job_id, PARTITIONS), seen_within=60) is None


def test_a_bad_frame_is_parked_and_the_next_goes_on(scene: Scene, job_id: str) -> None:
    scene.start()
    bad = frame(job_id, 1, 5)._replace(value=b"garbage")
    scene.write(bad, frame(job_id, 1, 5, end=True))
    scene.until_complete(job_id)
    (letter,) = scene.bus.records(topics.dlq_of(TOPIC))
    assert "not a zstd frame" in origin(letter).reason
    assert letter.value == b"garbage"
    assert scene.stored(job_id) == log_lines(1, 5)


def test_what_postgres_refuses_is_parked_and_the_rest_is_stored(
    scene: Scene, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_services.logs.frames._TENANT", re.compile(".*"))
    scene.start()
    good = uuid7(time.time())
    evil = frame(job_id, 1, 5, end=True)
    headers = [(name, b"a\x00b" if name == "penstock-tenant" else value) for name, value in evil.headers]
    scene.write(evil._replace(headers=headers), frame(good, 1, 5, end=True))
    scene.until_complete(good)
    scene.until(lambda: bool(scene.bus.records(topics.dlq_of(TOPIC))), "a dead letter")
    (letter,) = scene.bus.records(topics.dlq_of(TOPIC))
    assert origin(letter).error == "PoisonRow"
    scene.until(lambda: scene.committed(job_id) == scene.written(job_id), "a commit")


def test_a_storage_that_refuses_ends_the_process(
    scene: Scene, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> bool:
        raise StopProcess("the bucket does not exist")

    monkeypatch.setattr(scene.objects, "put", refuse)
    service = scene.start()
    scene.write(frame(job_id, 1, 5))
    with pytest.raises(StopProcess, match="the bucket does not exist"):
        service.join()
    assert scene.committed(job_id) == 0


async def test_a_live_log(scene: Scene, http: aiohttp.ClientSession) -> None:
    scene.start()
    world = World(scene.db, [{}])
    world.claim(0)
    job_id = world.jobs[0]
    scene.write(frame(job_id, 1, 5))
    async with http.get(tail(scene.owner(job_id), job_id)) as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-ndjson")
        assert await answer.content.readexactly(len(log_lines(1, 5))) == log_lines(1, 5)
        scene.write(frame(job_id, 6, 6))
        assert await answer.content.readline() == log_line(6)
        world.finish(0, last_seq=7)
        scene.write(frame(job_id, 7, 7, end=True))
        rest = await answer.content.read()
    assert rest == log_line(7) + b'{"end":true,"last_seq":7,"state":"SUCCESS"}\n'
    await asyncio.to_thread(scene.until_complete, job_id)
    async with http.get(tail(scene.owner(job_id), job_id, "from_seq=6")) as answer:
        assert await answer.content.read() == log_line(6) + rest


async def test_what_makes_no_sense_is_refused(scene: Scene, http: aiohttp.ClientSession, job_id: str) -> None:
    scene.start()
    owner = scene.owner(job_id)
    for path in (
        f"{job_id}/0", f"{job_id}/x", "job-1/1", f"{job_id}/1?from_seq=0", f"{job_id}/1?from_seq=-1",
        f"{job_id}/1?follow=yes", f"{job_id}/{2**31}",
    ):  # fmt: skip
        async with http.get(f"http://{owner}/v1/tail/{path}") as answer:
            assert answer.status == 400, path
            assert (await answer.json())["error"]


async def test_readers_move_with_the_partition(scene: Scene, http: aiohttp.ClientSession) -> None:
    job_id = uuid7(time.time())
    while partition_for(job_id, PARTITIONS) % 2 == 0:  # the bus deals these to the second member
        job_id = uuid7(time.time())
    scene.start(ChunkSettings(log_chunk_seconds=3600))
    scene.write(frame(job_id, 1, 5))
    owner = scene.owner(job_id)
    async with http.get(tail(owner, job_id)) as answer:
        assert await answer.content.readexactly(len(log_lines(1, 5))) == log_lines(1, 5)
        scene.start()
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await answer.content.read()
    async with http.get(tail(owner, job_id)) as answer:
        assert answer.status == 421
    await asyncio.to_thread(scene.until, lambda: scene.owner(job_id) != owner, "another owner")
    async with http.get(tail(owner, job_id)) as answer:
        assert (await answer.json())["owner"] == scene.owner(job_id)
    async with http.get(tail(scene.owner(job_id), job_id, "from_seq=6&follow=1")) as answer:
        scene.write(frame(job_id, 6, 8))
        assert await answer.content.readexactly(len(log_lines(6, 8))) == log_lines(6, 8)


async def test_with_the_storage_away_lines_go_on_and_none_is_lost(
    scene: Scene, http: aiohttp.ClientSession, job_id: str
) -> None:
    small = ChunkSettings(log_chunk_seconds=0.1, log_buffer_bytes=1024 * 1024)
    scene.objects.away = True
    service = scene.start(small)
    noise = random.Random(1)  # what compresses badly fills the memory
    rows = [log_line(seq, noise.randbytes(1000).hex()) for seq in range(1, 3001)]
    frames = [
        frame(job_id, first, first + 9, end=first == 2991, lines=b"".join(rows[first - 1 : first + 9]))
        for first in range(1, 3001, 10)
    ]
    scene.write(*frames[:50])
    async with http.get(tail(scene.owner(job_id), job_id)) as answer:
        for row in rows[:500]:
            assert await answer.content.readline() == row
        scene.write(*frames[50:])
        for row in rows[500:600]:
            assert await answer.content.readline() == row
        await asyncio.to_thread(scene.until, lambda: 0 < service.lag() < 250, "full memory")
        assert scene.committed(job_id) == 0
        assert logs.chunks(scene.db, job_id, 1, 1) == []
        scene.objects.away = False
        for row in rows[600:]:
            assert await answer.content.readline() == row
    await asyncio.to_thread(scene.until_complete, job_id)
    assert scene.stored(job_id) == b"".join(rows)


async def test_with_postgres_away_lines_go_on_and_none_is_lost(
    scene: Scene, http: aiohttp.ClientSession, job_id: str
) -> None:
    scene.start()
    owner = scene.owner(job_id)
    FlakyDatabase.away.set()
    scene.write(frame(job_id, 1, 5))
    async with http.get(tail(owner, job_id)) as answer:
        assert await answer.content.readexactly(len(log_lines(1, 5))) == log_lines(1, 5)
        scene.write(frame(job_id, 6, 9, end=True))
        assert await answer.content.readexactly(len(log_lines(6, 9))) == log_lines(6, 9)
    async with http.get(tail(owner, uuid7(1.0))) as answer:
        assert answer.status in (200, 421)
    assert scene.committed(job_id) == 0
    FlakyDatabase.away.clear()
    await asyncio.to_thread(scene.until_complete, job_id)
    assert scene.stored(job_id) == log_lines(1, 9)


async def test_a_slow_reader_is_dropped_and_others_are_not_held_up(
    scene: Scene, http: aiohttp.ClientSession, job_id: str
) -> None:
    scene.start(tail=TailSettings(tail_stall_seconds=3.0))
    owner = scene.owner(job_id)
    host, port = owner.split(":")
    rows = [log_line(seq, f"{seq} " + "y" * 4000) for seq in range(1, 5001)]
    with socket.create_connection((host, int(port))) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        slow.sendall(f"GET /v1/tail/{job_id}/1?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with http.get(tail(owner, job_id)) as answer:
            for first in range(0, 5000, 100):
                part = rows[first : first + 100]
                scene.write(frame(job_id, first + 1, first + 100, end=first == 4900, lines=b"".join(part)))
                for row in part:
                    assert await answer.content.readline() == row
        await asyncio.to_thread(scene.until, lambda: not _is_served(slow), "an end for who takes nothing")
        slow.settimeout(SECONDS)
        got = await asyncio.to_thread(_read_to_the_end, slow)
    assert b"HTTP/1.1 200" in got
    assert b'"end"' not in got
    assert len(got) < sum(map(len, rows))


def _is_served(client: socket.socket) -> bool:
    """Whether the other end of this connection is open in this process."""
    return any(one.raddr == client.getsockname() for one in psutil.Process().net_connections("tcp"))


def _read_to_the_end(connection: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            got += data
    return got


def test_a_log_without_its_end_is_closed_and_still_takes_what_comes_late(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_services.logs.duties.HOLD_OFF_SECONDS", 0.0)
    scene.start(close_seconds=0.3)
    world = World(scene.db, [{}])
    world.claim(0)
    job_id = world.jobs[0]
    key = (job_id, 1)
    scene.write(frame(job_id, 1, 5), frame(job_id, 8, 8))
    world.finish(0, last_seq=9, success=False)
    scene.until(lambda: bool(logs.states(scene.db, [key])[key].closed), "closed")
    end = end_of(logs.states(scene.db, [key])[key], 60)
    assert msgspec.to_builtins(end) == {
        "end": True, "last_seq": 8, "state": "FAILED", "incomplete": True, "missing": 3,
    }  # fmt: skip
    assert scene.stored(job_id) == log_lines(1, 5) + log_line(8)
    scene.write(frame(job_id, 6, 9, end=True))
    scene.until_complete(job_id)
    assert scene.stored(job_id) == log_lines(1, 9)
    end = end_of(logs.states(scene.db, [key])[key], 60)
    assert msgspec.to_builtins(end) == {"end": True, "last_seq": 9, "state": "FAILED"}
