"""A gateway without anything behind it: it answers what a test told it, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

TOKEN = "good-token"
PIPELINE = "01900000-0000-7000-8000-000000000001"
AGAIN = "01900000-0000-7000-8000-000000000002"
"""What a rerun becomes."""
REQUEST = "request-1"
AT = "2026-01-02T03:04:05.000000Z"


def job_id(number: int) -> str:
    return f"01900000-0000-7000-8000-0000000001{number:02d}"


def pipeline(state: str = "RUNNING", **more: Any) -> dict[str, Any]:
    known = {"tenant": "default", "pipeline_id": PIPELINE, "request_id": REQUEST, "name": "demo"}
    ended = state in ("SUCCESS", "FAILED", "CANCELLED", "REJECTED")
    times = {"created_at": AT, "finished_at": "2026-01-02T03:04:09.000000Z" if ended else None}
    return {**known, "state": state, "terminal": ended, "counts": {}, "reason": None, **times, **more}


def job(number: int, name: str, state: str = "SUCCESS", **more: Any) -> dict[str, Any]:
    known = {"pipeline_id": PIPELINE, "job_id": job_id(number), "name": name, "stage": None, "version": 4}
    ended = state in ("SUCCESS", "FAILED", "CANCELLED", "SKIPPED")
    run = {"attempt": 1, "tries": 1, "exit_code": None, "duration_ms": 1200, "reason": None}
    shape = {"executor": "process", "needs": [], "level": 0, "attempts": []}
    times = {"started_at": AT, "changed_at": AT}
    return {**known, "state": state, "terminal": ended, **run, **shape, **times, **more}


def status(version: int, state: str, **more: Any) -> dict[str, Any]:
    """A status record; of a job when `more` has its `job_id`."""
    ended = state in ("SUCCESS", "FAILED", "CANCELLED", "REJECTED", "SKIPPED")
    known = {"pipeline_id": PIPELINE, "name": "demo", "previous": None, "reason": None, "at": AT}
    return {**known, "version": version, "state": state, "terminal": ended, **more}


def life(number: int, name: str, end: str = "SUCCESS", **more: Any) -> list[dict[str, Any]]:
    """The records of a job that runs once."""
    states = ["QUEUED", "ASSIGNED", "RUNNING", end]
    about = {"job_id": job_id(number), "name": name, "attempt": 1, "tries": 1, "exit_code": None}
    records = [status(version, state, **about) for version, state in enumerate(states, 1)]
    records[-1] |= {"duration_ms": 1200, **more}
    return records


def lines(*texts: str) -> list[dict[str, Any]]:
    """A whole log."""
    found = [{"seq": seq, "ts": 0, "stream": "stdout", "text": text} for seq, text in enumerate(texts, 1)]
    return [*found, {"end": True, "last_seq": len(texts)}]


class FakeGateway:
    """Use it as a context. What it answers is in its attributes; what it was asked in `calls`."""

    def __init__(self) -> None:
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.explanations: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.logs: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        self.answers: deque[tuple[int, dict[str, Any]]] = deque()
        """Given to the next calls that are not streams, in place of what they would get."""
        self.cuts: deque[int] = deque()
        """The next streams break off after so many records."""
        self.calls: list[tuple[str, str, Any]] = []
        """Method, path with query, body or headers of interest."""
        self.on_cancel: Callable[[], None] = lambda: None
        self.streaming = threading.Event()
        """Somebody reads events."""
        self.tailing = threading.Event()
        """Somebody reads a log."""
        self._changed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> FakeGateway:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listen, again on the same port if it did before."""
        self._call(self._start())

    def stop(self) -> None:
        """Break all connections and listen no more."""
        self._call(self._stop())

    def emit(self, *records: dict[str, Any]) -> None:
        """More status records."""
        for record in records:
            self.events[record["pipeline_id"]].append(record)
        self._loop.call_soon_threadsafe(self._wake)

    def write(self, number: int, *records: dict[str, Any], attempt: int = 1) -> None:
        """More of a job's log."""
        self.logs[(job_id(number), attempt)].extend(records)
        self._loop.call_soon_threadsafe(self._wake)

    def _call(self, body: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(body, self._loop).result(10)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._around])
        app.router.add_post("/v1/pipelines", self._submit)
        app.router.add_get("/v1/pipelines", self._list)
        app.router.add_get("/v1/pipelines/{id}", self._pipeline)
        app.router.add_get("/v1/pipelines/{id}/jobs", self._jobs)
        app.router.add_get("/v1/pipelines/{id}/events", self._events)
        app.router.add_get("/v1/requests/{id}", self._request)
        app.router.add_get("/v1/jobs/{id}", self._job)
        app.router.add_get("/v1/jobs/{id}/attempts", self._attempts)
        app.router.add_get("/v1/jobs/{id}/explain", self._explain)
        app.router.add_post("/v1/jobs/{id}/promote", self._promote)
        app.router.add_get("/v1/jobs/{id}/logs", self._log)
        app.router.add_post("/v1/{what}/{id}/cancel", self._cancel)
        app.router.add_post("/v1/pipelines/{id}/rerun", self._rerun)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @web.middleware
    async def _around(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body: Any = await request.text()
        if request.method == "GET":
            body = request.headers.get("Last-Event-ID", "")
        self.calls.append((request.method, request.path_qs, body))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "the token is unknown, expired or revoked")
        if self.answers and not request.path.endswith(("/events", "/logs")):
            code, answer = self.answers.popleft()
            return web.json_response(answer, status=code)
        found: web.StreamResponse = await handler(request)
        return found

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        self.pipelines.setdefault(PIPELINE, pipeline("PENDING"))
        receipt = {"pipeline_id": PIPELINE, "request_id": REQUEST, "state": "PENDING", "url": "/"}
        return web.json_response(receipt, status=201)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        found = list(self.pipelines.values())
        start, limit = int(request.query.get("cursor", 0)), int(request.query["limit"])
        following = str(start + limit) if start + limit < len(found) else None
        return web.json_response({"pipelines": found[start : start + limit], "next_cursor": following})

    async def _pipeline(self, request: web.Request) -> web.StreamResponse:
        found = self.pipelines.get(request.match_info["id"])
        return web.json_response(found) if found else problem(404, "there is no such pipeline")

    async def _request(self, request: web.Request) -> web.StreamResponse:
        found = {"request_id": request.match_info["id"], "pipeline_id": PIPELINE, "state": "PENDING"}
        return web.json_response(found)

    async def _jobs(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"jobs": self.jobs[request.match_info["id"]]})

    async def _job(self, request: web.Request) -> web.StreamResponse:
        found = self._find_job(request)
        return web.json_response(found) if found else problem(404, "there is no such job")

    async def _attempts(self, request: web.Request) -> web.StreamResponse:
        found = self._find_job(request)
        return web.json_response({"attempts": found["attempts"] if found else []})

    async def _explain(self, request: web.Request) -> web.StreamResponse:
        found = self.explanations.get(request.match_info["id"])
        return web.json_response(found) if found else problem(404, "there is no such job")

    async def _promote(self, request: web.Request) -> web.StreamResponse:
        found = self._find_job(request)
        if found is None:
            return problem(404, "there is no such job")
        if found["terminal"]:
            return problem(409, "the job has ended already")
        lane = (await request.json())["lane"]
        told = {"job_id": found["job_id"], "lane": lane, "promoted": found.get("lane") != lane, "url": "/"}
        return web.json_response(told)

    def _find_job(self, request: web.Request) -> dict[str, Any] | None:
        every = (found for jobs in self.jobs.values() for found in jobs)
        return next((found for found in every if found["job_id"] == request.match_info["id"]), None)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        found = self.pipelines.get(request.match_info["id"]) or self._find_job(request)
        if found is None:
            return problem(404, "there is no such thing")
        if found["terminal"]:
            return problem(409, f"it ended already: {found['state']}")
        self.on_cancel()
        return web.json_response({"pipeline_id": PIPELINE, "url": "/"}, status=202)

    async def _rerun(self, request: web.Request) -> web.StreamResponse:
        found = self.pipelines.get(request.match_info["id"])
        if found is None:
            return problem(404, "there is no such pipeline")
        if not found["terminal"]:
            return problem(409, f"the pipeline is {found['state']}")
        told = {"pipeline_id": AGAIN, "request_id": request.headers["Idempotency-Key"], "rerun_of": PIPELINE}
        return web.json_response({**told, "state": "PENDING", "url": "/"}, status=201)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        def shown(at: int, record: dict[str, Any]) -> bytes:
            kind = "job" if "job_id" in record else "pipeline"
            return f"event: {kind}\nid: {at}\ndata: {json.dumps(record)}\n\n".encode()

        start = int(request.headers.get("Last-Event-ID", 0))
        last = lambda record: record["terminal"] and "job_id" not in record  # noqa: E731
        records = self.events[request.match_info["id"]]
        return await self._stream(request, "text/event-stream", records, start, shown, last)

    async def _log(self, request: web.Request) -> web.StreamResponse:
        def shown(at: int, record: dict[str, Any]) -> bytes:
            return json.dumps(record).encode() + b"\n"

        job, query = request.match_info["id"], request.query
        found = self._find_job(request)
        attempt = int(query.get("attempt") or (found["attempt"] if found else 1))
        start = int(query.get("from_seq", 1)) - 1
        records = self.logs[(job, attempt)]
        follow = query.get("follow") == "1"
        return await self._stream(
            request, "application/x-ndjson", records, start, shown, lambda record: "end" in record, follow
        )

    async def _stream(
        self,
        request: web.Request,
        content_type: str,
        records: list[dict[str, Any]],
        start: int,
        shown: Callable[[int, dict[str, Any]], bytes],
        last: Callable[[dict[str, Any]], bool],
        follow: bool = True,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        if content_type == "text/event-stream":
            await response.write(b"retry: 2000\n\n: still here\n\n")
            self.streaming.set()
        else:
            self.tailing.set()
        left = self.cuts.popleft() if self.cuts else None
        at = start
        while True:
            changed = self._changed
            while at < len(records):
                if left == 0:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                left = None if left is None else left - 1
                record = records[at]
                at += 1
                await response.write(shown(at, record))
                if last(record):
                    return response
            if not follow:
                return response
            await changed.wait()


def problem(code: int, detail: str, **more: Any) -> web.Response:
    body = {"type": "urn:penstock:problem:x", "title": "x", "status": code, "detail": detail, **more}
    return web.json_response(body, status=code, content_type="application/problem+json")
