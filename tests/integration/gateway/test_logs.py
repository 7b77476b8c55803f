"""Door three: stored, live, moved, waited for; as NDJSON, text and events."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestServer

from penstock.core.ids import uuid4, uuid7
from penstock.events import topics
from penstock.kafka.partitioner import partition_for
from penstock.logs.frames import compress
from penstock.logs.settings import LogSettings
from penstock.objects.keys import LOGS_TYPE
from penstock.runtime.run import Process
from penstock.runtime.settings import KafkaSettings, ObjectSettings, PostgresSettings, ProcessSettings
from penstock.store import logs, workers
from penstock.store.database import Database
from penstock.testing.log_frames import frame
from penstock_services.logs.settings import ChunkSettings, LogsSettings, TailSettings
from penstock_services.logs.wiring import wired

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

ONE = {"jobs": {"a": {"executor": "noop"}}}
PARTITIONS = 4


def line(seq: int, text: str = "", **more: Any) -> bytes:
    found = {"seq": seq, "ts": 1_790_000_000_000 + seq, "stream": "stdout", "text": text or f"line {seq}"}
    return orjson.dumps({**found, **more}) + b"\n"


async def begun(house: House) -> str:
    """A job that is ASSIGNED."""
    pipeline = await house.submit(ONE)
    job_id = str((await house.jobs_of(pipeline))["a"]["job_id"])
    house.claim(job_id)
    return job_id


async def over(house: House) -> str:
    """A job whose only attempt has ended well."""
    pipeline = await house.submit(ONE)
    job_id = str((await house.jobs_of(pipeline))["a"]["job_id"])
    house.finish(job_id, house.claim(job_id))
    return job_id


def store(house: House, job_id: str, lines: list[bytes], *, first: int = 1, end: int | None = None) -> None:
    """Store lines as one chunk."""
    data = compress(b"".join(lines))
    key = f"logs/acme/{job_id}/{first}"
    house.objects.put(key, data, content_type=LOGS_TYPE)
    last = first + len(lines) - 1
    chunk = logs.Chunk(first, last, key, len(data), 0, 1, 2, [(0, first)], "cluster", 1)
    before = logs.heads(house.db, [(job_id, 1)])[job_id, 1].lines
    item = logs.IndexItem(
        "acme",
        job_id,
        1,
        partition_for(job_id, PARTITIONS),
        before,
        before + len(lines),
        last,
        end,
        False,
        [chunk],
    )
    assert logs.index(house.db, [item])


async def lines_of(response: ClientResponse) -> list[dict[str, Any]]:
    assert response.status == 200, await response.text()
    return [orjson.loads(one) for one in (await response.read()).splitlines()]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Replica:
    """A `logs` replica that does as a test says."""

    def __init__(self, house: House, handler: Handler) -> None:
        app = web.Application()
        app.router.add_get("/v1/tail/{job}/{attempt}", self._serve)
        self.asked: list[str] = []
        self.server = TestServer(app)
        self._house = house
        self._handler = handler
        self._session = uuid4()

    async def __aenter__(self) -> Replica:
        await self.server.start_server()
        self.register()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.register(leaving=True)
        await self.server.close()

    def register(self, *, leaving: bool = False) -> None:
        workers.register(
            self._house.db,
            session_id=self._session,
            kind="logs",
            name="logs-0",
            address=f"{self.server.host}:{self.server.port}",
            partitions=list(range(PARTITIONS)),
            leaving=leaving,
        )

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.query_string)
        return await self._handler(request)


async def whole(request: web.Request, *pieces: bytes, broken: bool = False) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    if broken:
        assert request.transport is not None
        request.transport.abort()
    else:
        await response.write_eof()
    return response


async def test_a_stored_log(house: House) -> None:
    job_id = await over(house)
    raw = b"\xff\x00 \x1b[31mred"
    store(
        house, job_id, [line(1), line(2, raw.decode("utf-8", "replace"), raw=base64.b64encode(raw).decode())]
    )
    store(house, job_id, [line(3, "no newline", part=True)], first=3, end=3)
    path = f"/v1/jobs/{job_id}/logs"
    ndjson = await house.call("GET", path)
    assert ndjson.headers["Content-Type"] == "application/x-ndjson"
    *lines, end = await lines_of(ndjson)
    assert [one["seq"] for one in lines] == [1, 2, 3]
    assert end == {"end": True, "last_seq": 3, "state": "SUCCESS"}
    text = await house.call("GET", path, headers={"Accept": "text/plain"})
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert await text.read() == b"line 1\n" + raw + b"\nno newline"
    events = await house.call("GET", path, headers={"Accept": "text/event-stream", "Last-Event-ID": "1"})
    body = await events.read()
    assert [part.split(b"\n")[0] for part in body.split(b"\n\n")] == [b"id: 2", b"id: 3", b"event: end", b""]
    assert orjson.loads(body.split(b"\n\n")[0].split(b"data: ")[1])["seq"] == 2
    assert [one.get("seq") for one in await lines_of(await house.call("GET", path + "?from_seq=3"))] == [
        3,
        None,
    ]
    assert [one.get("seq") for one in await lines_of(await house.call("GET", path + "?limit=2"))] == [1, 2]
    assert len(await lines_of(await house.call("GET", path + "?from_seq=9&follow=1"))) == 1
    assert await lines_of(await house.call("GET", path + "?attempt=1&from_seq=2&limit=1")) == [lines[1]]
    missing = await house.get(path + "?attempt=2", 404)
    assert missing["detail"] == "there is no such attempt"


async def test_an_incomplete_log_says_so(house: House) -> None:
    job_id = await over(house)
    store(house, job_id, [line(1)])
    item = logs.IndexItem("acme", job_id, 1, 0, 1, 1, 1, 5, True, [])
    assert logs.index(house.db, [item])
    *_, end = await lines_of(await house.call("GET", f"/v1/jobs/{job_id}/logs"))
    assert end == {"end": True, "last_seq": 1, "state": "SUCCESS", "incomplete": True, "missing": 4}
    text = await house.call("GET", f"/v1/jobs/{job_id}/logs", headers={"Accept": "text/plain"})
    assert await text.text() == "line 1\n[penstock: this log is incomplete, lines missing: 4]\n"


async def test_the_tail_is_passed_on(house: House) -> None:
    job_id = await begun(house)
    end = b'{"end":true,"last_seq":3,"state":"SUCCESS"}\n'
    both = line(1) + line(2)

    async def serve(request: web.Request) -> web.StreamResponse:
        return await whole(request, both[:20], both[20:], line(3) + end)

    async with Replica(house, serve) as replica:
        found = await lines_of(await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=1"))
        assert [one.get("seq") for one in found] == [1, 2, 3, None]
        assert found[-1]["state"] == "SUCCESS"
        some = await lines_of(await house.call("GET", f"/v1/jobs/{job_id}/logs?limit=3"))
        assert [one["seq"] for one in some] == [1, 2, 3]
        assert replica.asked == ["from_seq=1&follow=1", "from_seq=1&follow=0"]


async def test_a_follower_goes_where_the_log_goes(house: House) -> None:
    """Cut in the middle of a line, refused, away, ended too soon, damaged: each line comes once."""
    job_id = await begun(house)
    end = b'{"end":true,"last_seq":6,"state":"FAILED"}\n'
    answers: Iterator[tuple[list[bytes], bool, int]] = iter(
        [
            ([line(1) + line(2)[:10]], True, 200),
            ([], False, 421),
            ([], False, 503),
            ([line(2), b"nonsense of number 3\n"], False, 200),
            ([line(4)], True, 200),
            ([line(5), line(6), end[:5]], True, 200),
            ([end], False, 200),
        ]
    )

    async def serve(request: web.Request) -> web.StreamResponse:
        pieces, broken, status = next(answers)
        if status != 200:
            return web.json_response({"error": "no", "owner": None}, status=status)
        return await whole(request, *pieces, broken=broken)

    async with Replica(house, serve) as replica:
        response = await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=true")
        got = (await response.read()).splitlines(keepends=True)
    assert got == [line(1), line(2), b"nonsense of number 3\n", line(4), line(5), line(6), end]
    asked = [one.removeprefix("from_seq=").removesuffix("&follow=1") for one in replica.asked]
    assert asked == ["1", "2", "2", "2", "4", "5", "7"]


async def test_no_replica_at_all(house: House) -> None:
    job_id = await begun(house)
    store(house, job_id, [line(1)])
    assert [one["seq"] for one in await lines_of(await house.call("GET", f"/v1/jobs/{job_id}/logs"))] == [1]
    response = await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=1")

    async def serve(request: web.Request) -> web.StreamResponse:
        return await whole(request, line(1), b'{"end":true,"last_seq":1}\n')

    async with Replica(house, serve):
        assert len(await lines_of(response)) == 2


async def test_a_replica_that_cannot(house: House) -> None:
    job_id = await begun(house)

    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "s3"}, status=503)

    async with Replica(house, serve):
        response = await house.call("GET", f"/v1/jobs/{job_id}/logs")
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"


async def test_object_storage_away(house: House) -> None:
    job_id = await over(house)
    store(house, job_id, [line(1)], end=1)
    house.objects.away = True
    response = await house.call("GET", f"/v1/jobs/{job_id}/logs")
    assert response.status == 503
    following = await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=1")
    house.objects.away = False
    assert len(await lines_of(following)) == 2
    for stored in list(house.objects.list("logs/")):
        house.objects.delete(stored.key)
    lost = await house.get(f"/v1/jobs/{job_id}/logs", 500)
    assert lost["type"] == "urn:penstock:problem:log-damaged"


async def test_a_job_that_has_not_begun(house: House) -> None:
    pipeline = await house.submit(ONE)
    job_id = (await house.jobs_of(pipeline))["a"]["job_id"]
    assert await lines_of(await house.call("GET", f"/v1/jobs/{job_id}/logs")) == []
    response = await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=1")
    await house.post(f"/v1/jobs/{job_id}/cancel", None, 202)
    ended = [{"end": True, "last_seq": 0, "state": "CANCELLED"}]
    assert await lines_of(response) == ended
    assert await lines_of(await house.call("GET", f"/v1/jobs/{job_id}/logs")) == ended


async def test_a_job_that_begins_meanwhile(house: House) -> None:
    pipeline = await house.submit(ONE)
    job_id = (await house.jobs_of(pipeline))["a"]["job_id"]
    response = await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=1")
    token = house.claim(job_id)
    store(house, job_id, [line(1)], end=1)
    house.finish(job_id, token)
    assert len(await lines_of(response)) == 2


@pytest.mark.parametrize(
    ("accept", "status", "content"),
    [
        ("*/*", 200, "application/x-ndjson"),
        ("text/*;q=0.5, application/json;q=0.1", 200, "text/plain; charset=utf-8"),
        ("image/png, text/event-stream", 200, "text/event-stream"),
        ("text/plain;q=0, */*;q=0.1", 200, "application/x-ndjson"),
        ("text/plain;q=x, application/x-ndjson", 200, "application/x-ndjson"),
        ("image/png", 406, "application/problem+json"),
    ],
)
async def test_forms(house: House, accept: str, status: int, content: str) -> None:
    job_id = await begun(house)
    store(house, job_id, [line(1)], end=1)
    response = await house.call("GET", f"/v1/jobs/{job_id}/logs", headers={"Accept": accept})
    assert (response.status, response.headers["Content-Type"]) == (status, content)


@contextmanager
def logs_service(house: House) -> Iterator[None]:
    """The real service, on the same bus, storage and database."""
    process = Process("logs", "logs-0")
    settings = LogsSettings(
        process=ProcessSettings(),
        kafka=KafkaSettings(kafka_bootstrap="", kafka_partitions=PARTITIONS),
        postgres=PostgresSettings(postgres_dsn=house.dsn),
        objects=ObjectSettings(s3_access_key="", s3_secret_key=""),
        logs=LogSettings(),
        chunks=ChunkSettings(),
        tail=TailSettings(),
    )
    with wired(
        process,
        settings,
        session_id=uuid7(process.clock.now()),
        sender=house.bus.sender(),
        objects=house.objects,
        connect=lambda use: Database(house.dsn, use),
        cluster_id=lambda: "memory",
    ) as loop:
        source = house.bus.group(
            [topics.LOGS_FRAMES.name], "logs", on_assigned=loop.on_assigned, on_revoked=loop.on_revoked
        )
        thread = threading.Thread(target=loop.run, args=(source, 5.0), daemon=True)
        thread.start()
        yield
        process.stop()
        thread.join()


async def test_through_the_logs_service_and_its_restart(house: House) -> None:
    job_id = await begun(house)
    response = await house.call("GET", f"/v1/jobs/{job_id}/logs?follow=1")
    got = b""
    with logs_service(house):
        house.bus.sender().send([frame(job_id, 1, 50)])
        while got.count(b"\n") < 50:
            got += await response.content.readany()
    house.bus.sender().send([frame(job_id, 51, 90)])
    with logs_service(house):
        house.bus.sender().send([frame(job_id, 91, 100, end=True)])
        async with asyncio.timeout(60):
            got += await response.content.read()
    *lines, end = [orjson.loads(one) for one in got.splitlines()]
    assert [one["seq"] for one in lines] == list(range(1, 101))
    assert end["last_seq"] == 100


async def test_a_job_that_a_rerun_took_over_has_the_log_of_its_source(house: House) -> None:
    pipeline = await house.submit({"jobs": {"a": {"executor": "noop"}, "b": {"executor": "noop"}}})
    ids = {name: str(job["job_id"]) for name, job in (await house.jobs_of(pipeline)).items()}
    store(house, ids["a"], [line(1), line(2), line(3)], end=3)
    for job_id in ids.values():
        house.run(job_id)
    again = (await house.post(f"/v1/pipelines/{pipeline}/rerun", {"from": ids["b"]}))["pipeline_id"]
    reused = (await house.jobs_of(again))["a"]["job_id"]
    for query in ("", "?attempt=1", "?follow=1"):
        response = await house.call("GET", f"/v1/jobs/{reused}/logs{query}")
        records = [orjson.loads(one) for one in (await response.read()).splitlines()]
        assert [record.get("text") for record in records[:-1]] == ["line 1", "line 2", "line 3"]
        assert records[-1] == {"end": True, "last_seq": 3, "state": "SUCCESS"}
    await house.get(f"/v1/jobs/{reused}/logs?attempt=2", 404)
