"""The transport of hosted runners: straight to the topics, inside the trust boundary.

Grants and control records are keyed by session, so one partition of each topic is read, without a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from penstock.core.errors import DeadLetter
from penstock.events import jobs, logs, topics, workers
from penstock.events.codec import encode
from penstock.events.envelope import Headers, envelope, traceparent
from penstock.events.logs import FrameHead
from penstock.kafka.acks import awaitable
from penstock.kafka.feeds import Feeds
from penstock.kafka.ports import Sender, Source
from penstock.kafka.records import Outgoing, Record
from penstock.kafka.tail import KeyTail
from penstock.runtime.clock import Clock, rfc3339
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings
from penstock_services.runner.transport import OnControl, OnGrants, OnMoved

FEED: Final = "runner"
FRAME_CONTENT: Final = b"application/x-ndjson+zstd"

log = logger(__name__)


class KafkaTransport:
    """See `Transport`. `sender` is for control records, `frame_sender` may linger a little."""

    def __init__(
        self,
        session_id: str,
        sender: Sender,
        frame_sender: Sender,
        open_source: Callable[[OnMoved], Source],
        clock: Clock,
    ) -> None:
        self._session_id = session_id
        self._key = session_id.encode()
        self._source_name = f"/penstock/runner/{session_id}".encode()
        self._sender = sender
        self._frame_sender = frame_sender
        self._open_source = open_source
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._feeds: Feeds | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._sent = 0

    async def start(self, on_grants: OnGrants, on_control: OnControl, on_moved: OnMoved) -> None:
        """See `Transport.start`."""
        self._on_grants = on_grants
        self._on_control = on_control

        def moved() -> None:
            self._loop.call_soon_threadsafe(on_moved)

        source = await asyncio.to_thread(self._open_source, moved)
        self._feeds = Feeds({FEED: source}, receiver=self)
        self._feeds.start()

    async def watch(self) -> None:
        """See `Transport.watch`."""
        await self._ended

    async def heartbeat(self, heartbeat: workers.Heartbeat) -> None:
        """See `Transport.heartbeat`."""
        topic = topics.WORKERS_HEARTBEATS.name
        headers = self._envelope(
            workers.HEARTBEAT_TYPE, f"{self._session_id}/{heartbeat.n}", self._session_id
        )
        await self._send(self._sender, [Outgoing(topic, self._key, encode(heartbeat), headers)])

    async def offer(self, offer: workers.Offer) -> None:
        """See `Transport.offer`."""
        topic = topics.WORKERS_OFFERS.name
        await self._send(
            self._sender,
            [
                Outgoing(
                    topic, offer.pool, encode(offer), self._numbered(workers.OFFER_TYPE, self._session_id)
                )
            ],
        )

    async def reports(self, reports: Sequence[jobs.Reports]) -> None:
        """See `Transport.reports`."""
        topic = topics.JOBS_REPORTS.name
        await self._send(
            self._sender,
            [
                Outgoing(
                    topic,
                    record.pipeline_id,
                    encode(record),
                    self._numbered(jobs.REPORT_TYPE, record.pipeline_id),
                )
                for record in reports
            ],
        )

    async def frames(self, frames: Sequence[tuple[FrameHead, bytes]]) -> None:
        """See `Transport.frames`."""
        topic = topics.LOGS_FRAMES.name
        await self._send(
            self._frame_sender,
            [Outgoing(topic, head.job_id, payload, self._frame_headers(head)) for head, payload in frames],
        )

    async def close(self) -> None:
        """See `Transport.close`; the senders belong to whoever made them."""
        if self._feeds is not None:
            await asyncio.to_thread(self._feeds.close)

    def deliver(self, name: str, records: list[Record]) -> None:
        """A batch of the feed, in its thread."""
        self._loop.call_soon_threadsafe(self._take, name, records)

    def failed(self, name: str, error: BaseException) -> None:
        """The feed ended, in its thread."""
        log.warning("feed ended", feed=name, error=str(error))
        self._loop.call_soon_threadsafe(self._ended.set_exception, error)

    def _take(self, name: str, records: list[Record]) -> None:
        for record in records:
            if record.key == self._key:
                try:
                    self._hear(record)
                except DeadLetter as error:
                    log.warning("record skipped", place=record.place, error=str(error))
        assert self._feeds is not None
        self._feeds.taken(name)

    def _hear(self, record: Record) -> None:
        if record.topic == topics.WORKERS_GRANTS.name:
            self._on_grants(workers.grants.decode(record.value))
        else:
            self._on_control(workers.control.decode(record.value))

    async def _send(self, sender: Sender, records: Sequence[Outgoing]) -> None:
        acked, done = awaitable()
        sender.post(records, done)
        await acked

    def _numbered(self, event_type: str, trace: str) -> Headers:
        self._sent += 1
        return self._envelope(
            event_type, f"{self._session_id}/{event_type.split('.')[3]}/{self._sent}", trace
        )

    def _envelope(self, event_type: str, event_id: str, trace: str) -> Headers:
        at = rfc3339(self._clock.now())
        return envelope(event_type, event_id, at, traceparent=traceparent(trace), source=self._source_name)

    def _frame_headers(self, head: FrameHead) -> Headers:
        headers = self._envelope(
            logs.FRAME_TYPE, f"{head.job_id}/{head.attempt}/{head.first_seq}", head.job_id
        )
        named = [(name, FRAME_CONTENT if name == "content-type" else value) for name, value in headers]
        return [*named, *logs.frame_headers(head)]


def session_source(settings: KafkaSettings, session_id: str, clock: Clock, on_moved: OnMoved) -> Source:
    """The partitions on which this session's grants and control records arrive, from now on.

    Raises:
        RetryLater: no broker answered in time.
        StopProcess: a topic is missing.
    """
    names = [topics.WORKERS_GRANTS.name, topics.WORKERS_CONTROL.name]
    source = KeyTail(settings, names, session_id, name=f"runner-{session_id}", clock=clock)
    source.on_moved = on_moved
    return source
