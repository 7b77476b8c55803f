"""The small HTTP server of every process: /healthz, /readyz, /metrics, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from penstock.core.errors import StopProcess
from penstock.runtime.metrics import Metrics

CLIENT_SECONDS = 5.0
"""A client that has not sent its request by then is dropped."""
CLOSE_SECONDS = 0.1
"""How long closing may take; an idle server wakes up as often."""


class HealthServer:
    """Serves until `close`. `/healthz` is 503 unless `alive()`, `/readyz` unless `ready()`.

    Both are about this process's own loop, never about its neighbours: a probe that fails because Postgres is
    away would make an orchestrator kill every service at once.
    """

    def __init__(
        self, host: str, port: int, *, alive: Callable[[], bool], ready: Callable[[], bool], metrics: Metrics
    ) -> None:
        """Bind.

        Raises:
            StopProcess: the address cannot be bound.
        """

        class Handler(BaseHTTPRequestHandler):
            timeout = CLIENT_SECONDS

            def do_GET(self) -> None:
                answer(self, alive, ready, metrics)

            def log_message(self, format: str, *args: Any) -> None:
                """A probe every few seconds is nothing to tell of."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise StopProcess(
                f"cannot serve health on {host}:{port}: {error.strerror} (set PENSTOCK_HTTP_PORT)"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(CLOSE_SECONDS,), name="health", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that was bound."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def answer(
    request: BaseHTTPRequestHandler, alive: Callable[[], bool], ready: Callable[[], bool], metrics: Metrics
) -> None:
    """Answer one GET."""
    if request.path == "/metrics":
        _reply(request, 200, CONTENT_TYPE_PLAIN_0_0_4, metrics.text())
    elif request.path == "/healthz":
        _reply(request, *((200, "text/plain", b"ok\n") if alive() else (503, "text/plain", b"stuck\n")))
    elif request.path == "/readyz":
        _reply(request, *((200, "text/plain", b"ready\n") if ready() else (503, "text/plain", b"starting\n")))
    else:
        _reply(request, 404, "text/plain", b"there are /healthz, /readyz and /metrics\n")


def _reply(request: BaseHTTPRequestHandler, status: int, content_type: str, body: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Type", content_type)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
