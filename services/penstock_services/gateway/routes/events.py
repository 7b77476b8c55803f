"""The status records of a pipeline as server-sent events: the past from Postgres, then live from Kafka."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import orjson
from aiohttp import web

from penstock.core.errors import RetryLater
from penstock.runtime.clock import rfc3339
from penstock.store import queries
from penstock_services.gateway.cursors import event_cursor, read_event_cursor
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import absent
from penstock_services.gateway.routing import EVENTS, Answer, Call, Parameter, Route
from penstock_services.gateway.sse import COMMENT, Stream, event
from penstock_services.gateway.watch import Follower

OVERLAP_SECONDS: Final = 60.0
"""A resume goes back so far: transitions become visible later than their time by a transaction's length."""
RETRY: Final = b"retry: 2000\n\n"


class Sent:
    """Which versions of the pipeline and of its jobs a reader has."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        """A bit a version."""

    def add(self, subject: str, version: int) -> bool:
        """Note a version. Whether it is new."""
        had = self._versions.get(subject, 0)
        self._versions[subject] = had | 1 << version
        return not had >> version & 1

    def pulse(self) -> int:
        """The sum of the highest versions: as `queries.pulse` when nothing is missing at the head."""
        return sum(versions.bit_length() - 1 for versions in self._versions.values())


class Playback:
    """One reader's way through the events of a pipeline."""

    def __init__(self, gateway: Gateway, stream: Stream, tenant: str, pipeline_id: str, resume: str) -> None:
        self._gateway = gateway
        self._stream = stream
        self._owner = (tenant, pipeline_id)
        self._sent = Sent()
        self._newest = resume
        self._from = _earlier(resume)

    async def replay(self, records: queries.History) -> bool:
        """Send what was not sent yet. Whether that is all: the pipeline has ended.

        The terminal record of the pipeline goes last, whatever its time: two transactions may end in another
        order than they began.
        """
        last = None
        merged = [("job", record) for record in records.jobs]
        for record in records.pipeline:
            if record["terminal"]:
                last = record
            else:
                merged.append(("pipeline", record))
        merged.sort(key=lambda item: str(item[1]["at"]))
        for kind, record in merged:
            subject = record["job_id"] if kind == "job" else record["pipeline_id"]
            if self._sent.add(subject, record["version"]) and record["at"] >= self._from:
                await self._write(kind, orjson.dumps(record), record["at"])
        if last is not None:
            await self._write("pipeline", orjson.dumps(last), last["at"])
        return last is not None

    async def live(self, follower: Follower) -> None:
        """Send what comes, until it is time to look into Postgres again."""
        settings = self._gateway.settings
        quiet = 0.0
        while not follower.missed:
            self._stream.check()
            news = await follower.next(settings.stream_sweep_seconds)
            if news is None:
                quiet += settings.stream_sweep_seconds
                if quiet >= settings.stream_heartbeat_seconds:
                    await self._stream.write(COMMENT)
                    quiet = 0.0
                if await self._behind():
                    return
            elif news.terminal and not news.job_id:
                return  # by now Postgres has all of it
            elif self._sent.add(news.job_id or news.pipeline_id, news.version):
                quiet = 0.0
                await self._write("job" if news.job_id else "pipeline", news.raw, news.at)
        follower.missed = False

    async def history(self) -> queries.History:
        """All that Postgres has, as soon as it answers."""
        while True:
            try:
                return await self._gateway.pool.run(queries.history, *self._owner)
            except RetryLater:
                await asyncio.sleep(self._gateway.settings.stream_sweep_seconds)
                await self._stream.write(COMMENT)

    async def _behind(self) -> bool:
        """Whether Postgres has versions that did not come by Kafka."""
        try:
            return await self._gateway.pool.run(queries.pulse, *self._owner) != self._sent.pulse()
        except RetryLater:
            return False

    async def _write(self, kind: str, data: bytes, at: str) -> None:
        self._newest = max(self._newest, at)
        await self._stream.write(event(data, kind=kind, cursor=event_cursor(self._newest)))


async def events(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/pipelines/{id}/events."""
    pipeline_id = call.id_of("pipeline")
    tenant = call.identity.tenant
    resume = read_event_cursor(call.request.headers.get("Last-Event-ID", ""))
    async with gateway.watch.follow(pipeline_id) as follower:
        if await gateway.pool.run(queries.pipeline, tenant, pipeline_id) is None:
            raise absent("pipeline")
        stream = Stream(call.request, EVENTS)
        playback = Playback(gateway, stream, tenant, pipeline_id, resume)
        await stream.open()
        await stream.write(RETRY)
        while not await playback.replay(await playback.history()):
            await playback.live(follower)
        return await stream.close()


def _earlier(at: str) -> str:
    """The time from which on to repeat events for a reader who has those up to `at`; empty: all."""
    if not at:
        return ""
    return rfc3339(datetime.fromisoformat(at).timestamp() - OVERLAP_SECONDS)


ROUTES: Final = (
    Route(
        "GET",
        "/v1/pipelines/{id}/events",
        events,
        "Status records, those of the past and then live, until the pipeline has ended. Events are named"
        " `pipeline` or `job`; `id` is an opaque cursor, and what comes after a resume may overlap.",
        {200: Answer("Server-sent events.", content=(EVENTS,))},
        parameters=(Parameter("Last-Event-ID", "The `id` of the last event that is known.", place="header"),),
        problems=(404,),
    ),
)
