"""The inner HTTP server of live logs (contract: `penstock.logs`): aiohttp in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from penstock.core.errors import RetryLater, StopProcess
from penstock.core.ids import is_uuid
from penstock.kafka.partitioner import partition_for
from penstock.objects.ports import ObjectMissing
from penstock.runtime.log import logger
from penstock.store.logs import LogKey
from penstock_services.logs.cursor import Cursor
from penstock_services.logs.library import Library
from penstock_services.logs.settings import TailSettings

CLOSE_SECONDS: Final = 2.0

log = logger(__name__)


class TailServer:
    """Serves until `close`. `changed` and `revoked` are called by the polling thread."""

    def __init__(self, settings: TailSettings, library: Library, partitions: int) -> None:
        self._settings = settings
        self._library = library
        self._partitions = partitions
        self._open: dict[asyncio.BaseTransport, int] = {}
        """Connections of readers being served, and the partition of each."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._bound = threading.Event()
        self._error: OSError | None = None
        self._port = 0
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)

    def start(self) -> None:
        """Bind and serve.

        Raises:
            StopProcess: the address cannot be bound.
        """
        self._thread.start()
        self._bound.wait()
        if self._error is not None:
            where = f"{self._settings.tail_host}:{self._settings.tail_port}"
            raise StopProcess(
                f"cannot serve logs on {where}: {self._error.strerror} (set PENSTOCK_TAIL_PORT)"
            ) from self._error

    @property
    def address(self) -> str:
        """host:port under which it is reached."""
        return self._settings.tail_address or f"{self._settings.tail_host}:{self._port}"

    def changed(self, keys: set[LogKey]) -> None:
        """See `Readers.changed`."""
        watched = self._library.watch.watched(keys)
        if watched:
            self._loop.call_soon_threadsafe(self._library.watch.wake, watched)

    def revoked(self, partitions: set[int]) -> None:
        """See `Readers.revoked`."""
        self._loop.call_soon_threadsafe(self._hang_up, partitions)

    def close(self) -> None:
        """Hang up on all readers and stop."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = error
        finally:
            self._bound.set()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/tail/{job_id}/{attempt}", self._tail)
        # A reader that went away must not be followed for ever: its handler is cancelled.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, self._settings.tail_host, self._settings.tail_port)
        await site.start()
        self._port = runner.addresses[0][1]
        self._bound.set()
        await self._stop.wait()
        self._hang_up(set(self._open.values()))
        await runner.cleanup()

    def _hang_up(self, partitions: set[int]) -> None:
        """No end of the log: the readers must ask again."""
        for transport, partition in list(self._open.items()):
            if partition in partitions and isinstance(transport, asyncio.Transport):
                transport.abort()

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        try:
            key, seq, follow = _wanted(request)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        partition = partition_for(key[0], self._partitions)
        if partition not in self._library.memory.partitions():
            return await self._elsewhere(partition)
        transport = request.transport
        assert transport is not None
        self._open[transport] = partition
        try:
            async with contextlib.aclosing(Cursor(self._library, key, seq).read(follow=follow)) as pieces:
                return await self._send(request, pieces, transport)
        finally:
            del self._open[transport]

    async def _send(
        self, request: web.Request, pieces: AsyncIterator[bytes], transport: asyncio.Transport
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            async for lines in pieces:
                if not response.prepared:
                    await response.prepare(request)
                if lines:
                    async with asyncio.timeout(self._settings.tail_stall_seconds):
                        await response.write(lines)
        except TimeoutError:
            log.info("slow reader dropped", path=request.path)
            transport.abort()
        except (RetryLater, ObjectMissing) as error:
            log.warning("log not served to its end", path=request.path, error=str(error))
            if not response.prepared:
                return web.json_response({"error": str(error)}, status=503)
            transport.abort()
        else:
            if not response.prepared:
                await response.prepare(request)
            await response.write_eof()
        return response

    async def _elsewhere(self, partition: int) -> web.Response:
        try:
            owner = await self._library.run(lambda: self._library.index.owner(partition))
        except RetryLater:
            owner = None
        body = {"error": f"log partition {partition} is not served here", "owner": owner}
        return web.json_response(body, status=421)


def _wanted(request: web.Request) -> tuple[LogKey, int, bool]:
    """The log, the first line, and whether to follow. Raises `ValueError` with what is wrong."""
    job_id, attempt = request.match_info["job_id"], request.match_info["attempt"]
    if not is_uuid(job_id):
        raise ValueError(f"{job_id!r} is not a job id")
    seq = request.query.get("from_seq", "1")
    follow = request.query.get("follow", "0")
    if not (attempt.isascii() and attempt.isdigit() and 1 <= int(attempt) < 2**31):
        raise ValueError(f"attempt {attempt!r} is not a number from 1")
    if not (seq.isascii() and seq.isdigit() and 1 <= int(seq) < 2**53):
        raise ValueError(f"from_seq={seq!r} is not a number from 1")
    if follow not in ("0", "1"):
        raise ValueError(f"follow={follow!r} is neither 0 nor 1")
    return (job_id, int(attempt)), int(seq), follow == "1"


def make_threads() -> ThreadPoolExecutor:
    """Where readers' calls of storage and index block."""
    return ThreadPoolExecutor(8, thread_name_prefix="tail")
