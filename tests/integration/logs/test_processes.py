"""Real servers and real processes: replicas are killed while lines come and are read."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import aiohttp
import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid7
from penstock.events import topics
from penstock.kafka.admin import apply_topics
from penstock.kafka.partitioner import partition_for
from penstock.kafka.producer import Producer
from penstock.logs.reading import Piece, stored_lines
from penstock.objects.s3 import S3Objects, ensure_bucket
from penstock.runtime.settings import KafkaSettings, ObjectSettings, environment
from penstock.store import logs, workers
from penstock.store.database import Database
from penstock.store.logs import Chunk
from penstock.testing.log_frames import frame, log_line, log_lines

SECONDS = 90.0
LINES = 4000
JOBS = 3


@pytest.fixture
def service_environment(
    kafka_settings: KafkaSettings, object_settings: ObjectSettings, postgres_dsn: str
) -> dict[str, str]:
    apply_topics(kafka_settings, [topics.LOGS_FRAMES, topics.WORKERS_CONTROL, topics.WARMUP])
    ensure_bucket(object_settings)
    return {
        **environment(),
        "PENSTOCK_KAFKA_BOOTSTRAP": kafka_settings.kafka_bootstrap,
        "PENSTOCK_KAFKA_PARTITIONS": str(kafka_settings.kafka_partitions),
        "PENSTOCK_POSTGRES_DSN": postgres_dsn,
        "PENSTOCK_S3_ENDPOINT": object_settings.s3_endpoint,
        "PENSTOCK_S3_ACCESS_KEY": object_settings.s3_access_key,
        "PENSTOCK_S3_SECRET_KEY": object_settings.s3_secret_key,
        "PENSTOCK_S3_BUCKET": object_settings.s3_bucket,
        "PENSTOCK_LOG_CHUNK_BYTES": str(16 * 1024),
        "PENSTOCK_LOG_CHUNK_SECONDS": "0.5",
    }


class Replicas:
    """Processes of the service."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        process = subprocess.Popen([sys.executable, "-m", "penstock_services.logs"], env=self._environ)
        self._running.append(process)

    def kill_oldest(self) -> None:
        """SIGKILL, wherever it is just now."""
        process = self._running.pop(0)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            assert process.wait(60) == 0


@pytest.fixture
def replicas(service_environment: dict[str, str]) -> Iterator[Replicas]:
    found = Replicas(service_environment)
    yield found
    found.stop()


class Reader:
    """Reads a log to its last line, from one owner after another, as the gateway does."""

    def __init__(self, dsn: str, job_id: str, partitions: int) -> None:
        self.got: list[bytes] = []
        self._db = Database(dsn, "reader")
        self._job_id = job_id
        self._partition = partition_for(job_id, partitions)

    async def read(self) -> None:
        deadline = time.monotonic() + SECONDS
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=1)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while len(self.got) < LINES:
                assert time.monotonic() < deadline, f"{len(self.got)} lines of {self._job_id}"
                with contextlib.suppress(aiohttp.ClientError, asyncio.IncompleteReadError, RetryLater):
                    await self._follow(http)
                await asyncio.sleep(0.1)
        self._db.close()

    async def _follow(self, http: aiohttp.ClientSession) -> None:
        owner = workers.log_owner(self._db, self._partition, seen_within=10)
        if owner is None:
            return
        url = f"http://{owner}/v1/tail/{self._job_id}/1?follow=1&from_seq={len(self.got) + 1}"
        async with http.get(url) as answer:
            if answer.status != 200:
                return
            while len(self.got) < LINES:
                line = await answer.content.readuntil(b"\n")
                if not line.endswith(b"\n"):
                    return
                self.got.append(line)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_no_line_is_lost_or_repeated_when_replicas_are_killed(
    replicas: Replicas, kafka_settings: KafkaSettings, object_settings: ObjectSettings, postgres_dsn: str
) -> None:
    jobs = [uuid7(time.time()) for _ in range(JOBS)]
    readers = [Reader(postgres_dsn, job, kafka_settings.kafka_partitions) for job in jobs]
    replicas.start()
    replicas.start()
    writer = threading.Thread(target=_write, args=(kafka_settings, jobs))
    writer.start()
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    for third in (1, 2):
        while min(len(reader.got) for reader in readers) < third * LINES // 3:
            for task in reading:
                if task.done():
                    task.result()  # who has given up says why
            await asyncio.sleep(0.05)
        await asyncio.to_thread(replicas.kill_oldest)
        replicas.start()
    await asyncio.gather(*reading)
    writer.join()
    expected = [log_line(seq) for seq in range(1, LINES + 1)]
    for reader in readers:
        assert reader.got == expected
    await asyncio.to_thread(_check_stored, postgres_dsn, object_settings, jobs)


def _write(kafka_settings: KafkaSettings, jobs: list[str]) -> None:
    with Producer(kafka_settings, "writer") as producer:
        for first in range(1, LINES + 1, 20):
            last = first + 19
            producer.send([frame(job, first, last, end=last == LINES) for job in jobs])
            time.sleep(0.06)


def _check_stored(dsn: str, object_settings: ObjectSettings, jobs: list[str]) -> None:
    db = Database(dsn, "check")
    objects = S3Objects(object_settings)
    deadline = time.monotonic() + SECONDS
    for job in jobs:
        while not logs.heads(db, [(job, 1)])[job, 1].complete:
            assert time.monotonic() < deadline, f"{job} is not stored"
            time.sleep(0.1)
        chunks = logs.chunks(db, job, 1, 1, limit=10_000)
        assert len(chunks) > 3
        lines = b"".join(piece.lines for piece in _all(objects, chunks))
        assert lines == log_lines(1, LINES)
    db.close()


def _all(objects: S3Objects, chunks: list[Chunk]) -> Iterator[Piece]:
    def from_seq(seq: int) -> list[Chunk]:
        return [chunk for chunk in chunks if chunk.last_seq >= seq]

    return stored_lines(objects, from_seq, 1, over_gaps=False)
