"""What the status topics say of the pipelines that somebody waits for here: one feed shared by all."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec

from penstock.core.errors import RetryLater, StopProcess
from penstock.events import topics
from penstock.events.envelope import header
from penstock.kafka.feeds import Feeds
from penstock.kafka.ports import Source
from penstock.kafka.publish import REPLAYED
from penstock.kafka.records import Record
from penstock.runtime.log import logger

TOPICS: Final = (topics.PIPELINES_STATUS.name, topics.JOBS_STATUS.name)
RECONNECT_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 10.0
"""A feed that nobody has followed for so long is closed: each record would cost the broker an answer."""
AWAKE_SECONDS: Final = 0.5
"""A new follower waits so long at most for the feed; after that Postgres must do."""
KEPT: Final = 5_000
"""Records that wait for a follower that is slower than they come; beyond, it must look into Postgres."""

log = logger(__name__)


class News(msgspec.Struct, frozen=True):
    """What a follower needs of a status record, and the record as it came (`raw`)."""

    tenant: str
    pipeline_id: str
    version: int
    state: str
    terminal: bool
    at: str
    job_id: str = ""
    request_id: str = ""
    reason: str | None = None
    errors: list[dict[str, object]] | None = None
    raw: bytes = b""


_decoder: Final = msgspec.json.Decoder(News)


class Follower:
    """The news of one pipeline, for one reader."""

    def __init__(self) -> None:
        self.missed = False
        """Some were dropped: look into Postgres, then reset it."""
        self._news: deque[News] = deque()
        self._came = asyncio.Event()

    async def next(self, seconds: float) -> News | None:
        """The next record; None when none came in time."""
        if not self._news:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), seconds)
            except TimeoutError:
                return None
        return self._news.popleft()

    def put(self, news: News) -> None:
        """Hand over a record."""
        if len(self._news) >= KEPT:
            self.missed = True
            return
        self._news.append(news)
        self._came.set()


class Watch:
    """Reads both status topics from their end while somebody follows, and a little longer.

    Kafka's records are hints here, too: a follower that must not miss anything looks into Postgres now and
    then. So a feed that broke is simply connected again, at the end.
    """

    def __init__(self, connect: Callable[[], Source], idle_seconds: float = IDLE_SECONDS) -> None:
        self._connect = connect
        self._idle_seconds = idle_seconds
        self._followers: dict[bytes, set[Follower]] = {}
        self._wanted = asyncio.Event()
        self._wanted.set()  # the first feed is opened at once, so that the first follower need not wait
        self.connected = asyncio.Event()
        """Set while records come in."""

    @asynccontextmanager
    async def follow(self, pipeline_id: str, until: float = math.inf) -> AsyncIterator[Follower]:
        """Records of this pipeline that are published from now on.

        The feed is waited for, but not beyond `until` of the loop's clock.
        """
        key = pipeline_id.encode()
        follower = Follower()
        self._followers.setdefault(key, set()).add(follower)
        self._wanted.set()
        try:
            awake_by = min(until, asyncio.get_running_loop().time() + AWAKE_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(awake_by):
                    await self.connected.wait()
            yield follower
        finally:
            left = self._followers[key]
            left.discard(follower)
            if not left:
                del self._followers[key]

    async def run(self) -> None:
        """Read until cancelled. Raises `StopProcess` when a topic is missing from the start."""
        known = False
        while True:
            await self._wanted.wait()
            try:
                source = await asyncio.to_thread(self._connect)
                known = True
                await self._read(source)
            except (RetryLater, StopProcess) as error:
                if isinstance(error, StopProcess) and not known:
                    raise
                # A topic that was there is missing while Kafka, formatted anew, has not got it back.
                log.warning("status topics not followed", error=str(error))
            if self._wanted.is_set():
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _read(self, source: Source) -> None:
        """Read this source until its feed ends, or nobody wants it any more."""
        ended = asyncio.Event()
        receiver = _Receiver(self, asyncio.get_running_loop(), ended)
        feeds = Feeds({"status": source}, receiver=receiver)
        receiver.feeds = feeds
        feeds.start()
        self.connected.set()
        try:
            while self._wanted.is_set() and not ended.is_set():
                if not self._followers:
                    self._wanted.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), self._idle_seconds)
        finally:
            self.connected.clear()
            await asyncio.to_thread(feeds.close)

    def wanted(self, key: bytes | None) -> bool:
        """Whether anybody follows the pipeline of this key. Any thread may ask."""
        return key in self._followers

    def hand_out(self, records: list[Record]) -> None:
        """Give records to their followers."""
        for record in records:
            followers = self._followers.get(record.key or b"")
            if followers is None or record.value is None:
                continue
            try:
                news = _decoder.decode(record.value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("status record not understood", place=record.place, error=str(error))
                continue
            news = msgspec.structs.replace(news, raw=record.value)
            for follower in followers:
                follower.put(news)


class _Receiver:
    """Takes the feed's batches in its thread; only what somebody follows wakes the loop."""

    def __init__(self, watch: Watch, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        self._watch = watch
        self._loop = loop
        self._ended = ended
        self.feeds: Feeds

    def deliver(self, name: str, records: list[Record]) -> None:
        """See `Receiver.deliver`."""
        wanted = [
            record
            for record in records
            if self._watch.wanted(record.key) and not header(record.headers, REPLAYED)
        ]
        if wanted:
            self._loop.call_soon_threadsafe(self._watch.hand_out, wanted)
        self.feeds.taken(name)

    def failed(self, name: str, error: BaseException) -> None:
        """See `Receiver.failed`."""
        log.warning("feed ended", feed=name, error=str(error))
        self._loop.call_soon_threadsafe(self._ended.set)
