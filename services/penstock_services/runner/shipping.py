"""Logs on their way: a job's output becomes frames, frames go to the spool, and from there to the services.

Of each log one batch is in flight at a time, so frames never overtake each other, and under load a batch
becomes larger by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.core.errors import RejectInput, RetryLater
from penstock.events.jobs import Grant
from penstock.events.logs import FrameHead
from penstock.events.workers import Stored
from penstock.runtime.clock import Clock
from penstock.runtime.log import logger
from penstock_services.runner.frames import Frame, FrameCutter, Stream, compress
from penstock_services.runner.session import Key
from penstock_services.runner.spool import Spool, SpooledFrame, SpooledLog
from penstock_services.runner.transport import Transport

FLUSH_SECONDS: Final = 0.025
"""Lines wait for company at most so long. After a pause they do not wait, but an attempt's first ones do: all
that a very short job writes is one frame.
"""
BATCH_BYTES: Final = 1024 * 1024
RETRY_SECONDS: Final = 1.0

log = logger(__name__)


class AttemptOutput:
    """Where the output of one attempt goes. `write` always takes what it is given; mind `full`."""

    def __init__(self, shipper: LogShipper, grant: Grant, on_error: Callable[[], None]) -> None:
        self._shipper = shipper
        self._grant = grant
        self._on_error = on_error
        self._cutter = FrameCutter()
        self._loop = asyncio.get_running_loop()
        self._flushed_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._broken = False
        """The spool took no more: output that comes after it is lost."""

    @property
    def full(self) -> bool:
        """Whether the job should be held back: stop reading from it and await `room`."""
        return self._shipper.full

    async def room(self) -> None:
        """Wait until it may go on."""
        await self._shipper.room()

    def write(self, stream: Stream, data: bytes) -> None:
        """Take what the job wrote just now."""
        for frame in self._cutter.feed(stream, data, self._shipper.now_ms()):
            self._ship(frame)
        if self._cutter.waiting and self._timer is None:
            wait = self._flushed_at + FLUSH_SECONDS - self._loop.time()
            if wait <= 0:
                self._flush()
            else:
                self._timer = self._loop.call_later(wait, self._flush)

    def close(self) -> int:
        """The attempt ended: number of its last line."""
        if self._timer is not None:
            self._timer.cancel()
        for frame in self._cutter.finish(self._shipper.now_ms()):
            self._ship(frame)
        return self._cutter.last_seq

    def _flush(self) -> None:
        self._timer = None
        self._flushed_at = self._loop.time()
        self._ship(self._cutter.cut())

    def _ship(self, frame: Frame) -> None:
        if self._broken:
            return
        head = FrameHead(
            self._grant.tenant,
            self._grant.job_id,
            self._grant.attempt,
            self._shipper.session_id,
            frame.first_seq,
            frame.lines,
            len(frame.raw),
            frame.first_ts,
            frame.last_ts,
            frame.end,
        )
        try:
            self._shipper.ship(head, compress(frame.raw))
        except OSError as error:
            log.warning("spool takes no more", job_id=head.job_id, attempt=head.attempt, error=error.strerror)
            self._broken = True
            self._on_error()


class LogShipper:
    """Sends what is in the spool, again and again until it is stored."""

    def __init__(
        self, spool: Spool, transport: Transport, session_id: str, clock: Clock, retry_seconds: float
    ) -> None:
        self.session_id = session_id
        self._spool = spool
        self._transport = transport
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._senders: dict[Key, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._room.set()

    def now_ms(self) -> int:
        """Unix milliseconds, for the stamps of lines."""
        return int(self._clock.now() * 1000)

    @property
    def full(self) -> bool:
        """Whether the spool has reached its bound."""
        return self._spool.full

    async def room(self) -> None:
        """Wait until the spool is below its bound."""
        await self._room.wait()

    def open(self, grant: Grant, on_error: Callable[[], None]) -> AttemptOutput:
        """The output of an attempt that starts; `on_error` is called when it cannot be kept."""
        return AttemptOutput(self, grant, on_error)

    def ship(self, head: FrameHead, payload: bytes) -> None:
        """Spool a frame and send it. Raises `OSError` when the spool does not take it."""
        spooled = self._spool.append(head, payload)
        if self._spool.full:
            self._room.clear()
        self._send_soon(spooled)

    def resume(self) -> None:
        """Send what earlier processes left in the spool."""
        for spooled in self._spool.logs.values():
            self._send_soon(spooled)

    def send_again(self) -> None:
        """Send all that is not stored once more: what was sent before is lost."""
        for spooled in self._spool.logs.values():
            spooled.send_again()
            self._send_soon(spooled)

    def stored(self, stored: list[Stored]) -> None:
        """These lines are safe: free their frames."""
        for item in stored:
            self._spool.free((item.job_id, item.attempt), item.seq)
        if not self._spool.full:
            self._room.set()

    def tick(self) -> None:
        """Send again what was sent long ago and is not stored yet."""
        long_ago = self._clock.monotonic() - self._retry_seconds
        for spooled in self._spool.logs.values():
            sent_at = spooled.frames[0].sent_at if spooled.unsent else None
            if sent_at is not None and sent_at < long_ago:
                log.info("log frames are sent again", job_id=spooled.key[0], attempt=spooled.key[1])
                spooled.send_again()
                self._send_soon(spooled)

    async def flush(self, seconds: float) -> None:
        """Wait until everything was sent, at most so long. What was not stays in the spool."""
        if self._senders:
            await asyncio.wait(self._senders.values(), timeout=seconds)
        for task in list(self._senders.values()):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _send_soon(self, spooled: SpooledLog) -> None:
        if spooled.key not in self._senders:
            self._senders[spooled.key] = asyncio.get_running_loop().create_task(self._send_all(spooled))

    async def _send_all(self, spooled: SpooledLog) -> None:
        try:
            while frames := spooled.waiting(BATCH_BYTES):
                try:
                    await self._transport.frames([(self._head(f), self._spool.read(f)) for f in frames])
                except RetryLater as error:
                    log.warning("log frames not delivered", job_id=spooled.key[0], error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                except (RejectInput, OSError) as error:
                    # The next frames may be good; these are tried again with the unstored ones.
                    log.warning("log frames cannot be sent", job_id=spooled.key[0], error=str(error))
                spooled.sent(frames, self._clock.monotonic())
        finally:
            # Here, not in a callback of the task: a frame that comes in between would wait for ever.
            del self._senders[spooled.key]

    def _head(self, frame: SpooledFrame) -> FrameHead:
        head = frame.head
        if head.session_id == self.session_id:
            return head
        # Left by an earlier process: `stored` must find this one.
        return msgspec.structs.replace(head, session_id=self.session_id)
