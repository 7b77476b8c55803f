"""Server-sent events and other endless answers, written with an eye on the reader's pace."""

from __future__ import annotations

import asyncio
import weakref
from typing import Final

from aiohttp import web

STREAMS: Final[web.AppKey[weakref.WeakSet[asyncio.Task[object]]]] = web.AppKey("streams", weakref.WeakSet)
"""The tasks of all open streams: they are cancelled when the process stops, for they would not end."""
STALLED_SECONDS: Final = 60.0
"""A reader that takes nothing for so long is dropped; it comes back with its cursor."""


class Stream:
    """An answer of unknown length."""

    def __init__(self, request: web.Request, content_type: str) -> None:
        self._request = request
        self._response = web.StreamResponse(
            # Proxies that buffer would hold lines back.
            headers={"Content-Type": content_type, "X-Accel-Buffering": "no"}
        )

    async def open(self) -> None:
        """Send the head, unless it was sent."""
        if self._response.prepared:
            return
        task = asyncio.current_task()
        assert task is not None
        self._request.app[STREAMS].add(task)
        await self._response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        """Send bytes; waits for a slow reader.

        Raises:
            ConnectionError: the reader is gone, or stalled.
        """
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self._response.write(data)
        except TimeoutError:
            raise ConnectionResetError("the reader stalled") from None

    def check(self) -> None:
        """Raises `ConnectionError` when the reader is gone, which a quiet stream does not notice."""
        if self._request.transport is None or self._request.transport.is_closing():
            raise ConnectionResetError("the reader is gone")

    async def close(self) -> web.StreamResponse:
        """Send the end."""
        await self._response.write_eof()
        return self._response


def event(data: bytes, *, kind: str = "", cursor: str = "") -> bytes:
    """One server-sent event. `data` is JSON; line breaks in it, which mean nothing, become blanks."""
    head = (f"event: {kind}\n" if kind else "") + (f"id: {cursor}\n" if cursor else "")
    return head.encode() + b"data: " + data.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"


COMMENT: Final = b": still here\n\n"
"""Keeps proxies from closing a quiet stream; readers ignore it."""
