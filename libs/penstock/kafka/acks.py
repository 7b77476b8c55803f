"""The acknowledgement of a `Sender.post`, for a coroutine to wait for."""

from __future__ import annotations

import asyncio
import contextlib

from penstock.kafka.ports import Done


def awaitable() -> tuple[asyncio.Future[None], Done]:
    """A future of the running loop, and the `on_done` that settles it: None, or what `send` would raise."""
    loop = asyncio.get_running_loop()
    acked: asyncio.Future[None] = loop.create_future()
    # Whoever waited may have gone away: an error that nobody takes is none of the loop's business.
    acked.add_done_callback(lambda future: future.cancelled() or future.exception())

    def done(error: Exception | None) -> None:
        # The loop is closed when a sender delivers its last records after the end of whoever waited.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, acked, error)

    return acked, done


def _settle(acked: asyncio.Future[None], error: Exception | None) -> None:
    if acked.done():  # whoever waited was cancelled
        return
    if error is None:
        acked.set_result(None)
    else:
        acked.set_exception(error)
