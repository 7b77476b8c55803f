"""Listening: aiohttp's server, with our form of answer for what is not even HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from penstock.core.errors import StopProcess
from penstock_services.gateway.problems import HttpProblem

SHUTDOWN_SECONDS: Final = 5.0
"""How long calls that are in hand may take to finish."""

# Whatever a client sends wrong is told to it, and what a handler raises is logged where it is answered:
# aiohttp would log a traceback for each.
_silent: Final = logging.getLogger("penstock_services.gateway.http")
_silent.setLevel(logging.CRITICAL + 1)


class _Connection(web.RequestHandler):
    """One connection; its errors outside of any handler are problems, too."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is half sent")
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            problem = HttpProblem(status, "internal", "the gateway failed")
        else:
            detail = (message or str(exc) or "this is not HTTP").strip().splitlines()[0]
            problem = HttpProblem(status, "malformed", detail)
        response = problem.response()
        response.headers["Server"] = "penstock"
        response.force_close()
        return response


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve within the block; gives the port. At its end calls are finished, streams are cut.

    Raises:
        StopProcess: the address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    manager = runner.server
    assert manager is not None
    try:
        server = await loop.create_server(
            lambda: _Connection(manager, loop=loop, access_log=_silent, logger=_silent), host, port
        )
    except OSError as error:
        await runner.cleanup()
        raise StopProcess(
            f"cannot listen on {host}:{port}: {error.strerror} (set PENSTOCK_GATEWAY_PORT)"
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()
