"""Door three: the log of a job, to the end of what is there or of what will come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from aiohttp import web

from penstock.core.errors import RetryLater
from penstock.events.logs import Line
from penstock.logs.reading import EndOfLog
from penstock.objects.ports import ObjectMissing
from penstock.runtime.log import logger
from penstock.store import queries
from penstock_services.gateway.formats import FORMATS, choose, first_lines
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import HttpProblem, absent
from penstock_services.gateway.routing import EVENTS, NDJSON, TEXT, Answer, Call, Parameter, Route
from penstock_services.gateway.shelf import OVER
from penstock_services.gateway.sse import COMMENT, Stream
from penstock_services.gateway.watch import Follower

CHECK_SECONDS: Final = 5.0
"""How often a quiet log looks whether its reader is still there."""
MAX_LINES: Final = 2**53

log = logger(__name__)


async def logs(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/jobs/{id}/logs."""
    content = choose(call.request.headers.get("Accept", ""))
    if content is None:
        detail = f"a log is {NDJSON}, {TEXT} or {EVENTS}: say which in the header Accept"
        raise HttpProblem(406, "not-acceptable", detail)
    job = await gateway.pool.run(queries.log_job, call.identity.tenant, call.id_of("job"))
    if job is None:
        raise absent("job")
    wanted: int = call.query["attempt"]
    if wanted > job["attempt"]:
        raise absent("attempt")
    from_seq = _after(call.request.headers.get("Last-Event-ID", "")) or call.query["from_seq"]
    follow: bool = call.query["follow"]
    lines = _lines(gateway, job, wanted, from_seq, follow=follow)
    stream = Stream(call.request, f"{TEXT}; charset=utf-8" if content == TEXT else content)
    async with aclosing(_with_beats(lines)) as pieces:
        try:
            if follow:
                await stream.open()
            await _send(stream, pieces, content, call.query["limit"])
        except ObjectMissing as error:
            raise _damaged(job["job_id"], error) from error
    return await stream.close()


async def _send(stream: Stream, pieces: AsyncIterator[bytes], content: str, limit: int) -> None:
    """Send lines, at most `limit`. The head goes out with the first piece: an error may come before."""
    left = limit
    async for lines in pieces:
        await stream.open()
        stream.check()
        if lines:
            await stream.write(FORMATS[content](first_lines(lines, left)))
            left -= 0 if lines.startswith(OVER) else lines.count(b"\n")
            if left <= 0:
                return
        elif content == EVENTS:
            await stream.write(COMMENT)
    await stream.open()


async def _lines(
    gateway: Gateway, job: dict[str, Any], attempt: int, from_seq: int, *, follow: bool
) -> AsyncGenerator[bytes, None]:
    """The lines of this attempt, or of the last one (0), which may have to be waited for."""
    if attempt == 0 and job["attempt"] == 0 and follow:
        job = await _started(gateway, job)
    attempt = attempt or job["attempt"]
    if attempt:
        async with aclosing(gateway.logs.read((job["job_id"], attempt), from_seq, follow=follow)) as lines:
            async for piece in lines:
                yield piece
    elif job["terminal"]:
        yield msgspec.json.encode(EndOfLog(end=True, last_seq=0, state=job["state"])) + b"\n"


async def _started(gateway: Gateway, job: dict[str, Any]) -> dict[str, Any]:
    """The job as soon as it has an attempt, or has ended without one."""
    owner = (job["tenant"], job["job_id"])
    async with gateway.watch.follow(job["pipeline_id"]) as follower:
        while True:
            try:
                found = await gateway.pool.run(queries.log_job, *owner)
                if found is not None and (found["attempt"] or found["terminal"]):
                    return found
            except RetryLater:
                pass  # it will be back
            await _something_new(follower, job["job_id"], gateway.settings.stream_sweep_seconds)


async def _something_new(follower: Follower, job_id: str, seconds: float) -> None:
    """Wait for news of this job; not for long, for it may never come."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        news = await follower.next(left)
        if news is not None and news.job_id == job_id:
            return


async def _with_beats(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces, and an empty one whenever none came for a while."""
    coming: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(pieces, None))
            done, _ = await asyncio.wait((coming,), timeout=CHECK_SECONDS)
            if not done:
                yield b""
                continue
            piece, coming = coming.result(), None
            if piece is None:
                return
            yield piece
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await pieces.aclose()


def _damaged(job_id: str, error: ObjectMissing) -> HttpProblem:
    log.error("log damaged", job_id=job_id, key=error.key)
    return HttpProblem(500, "log-damaged", "a stored part of this log is lost")


def _after(last_event_id: str) -> int:
    """The line after this one; 0 when the id is none of ours."""
    known = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16
    return int(last_event_id) + 1 if known else 0


ROUTES: Final = (
    Route(
        "GET",
        "/v1/jobs/{id}/logs",
        logs,
        "The log of an attempt. As NDJSON a line is {seq, ts, stream, text, raw?, part?}; after the last one"
        " comes the end-of-log record {end, last_seq, state, incomplete?, missing?}, unless more may come. As"
        " text it is what was printed. As events, `id` is the line's number and the last event is `end`.",
        {200: Answer("The lines.", Line, (NDJSON, TEXT, EVENTS))},
        parameters=(
            Parameter("attempt", "Which attempt; the last one if absent.", "integer", 0, 1, 2**31 - 1),
            Parameter("from_seq", "The first line.", "integer", 1, 1, MAX_LINES),
            Parameter("limit", "At most so many lines.", "integer", MAX_LINES, 1, MAX_LINES),
            Parameter("follow", "Go on, live, to the end of the log.", "flag", default=False),
            Parameter("Last-Event-ID", "The number of the last line that is known.", place="header"),
        ),
        problems=(404, 406, 422),
    ),
)
