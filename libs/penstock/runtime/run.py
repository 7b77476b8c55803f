"""The frame of every process: settings, logs, metrics, health, signals, exit codes."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol, TypeVar

from penstock.core.errors import RetryLater, StopProcess
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.health import HealthServer
from penstock.runtime.log import configure, logger
from penstock.runtime.metrics import Metrics
from penstock.runtime.settings import ProcessSettings, load

EX_TEMPFAIL: Final = 75
"""A server did not come in time: starting the process again may help."""
EX_CONFIG: Final = 78
"""The process cannot work as configured: starting it again will not help."""
STUCK_SECONDS: Final = 60.0
"""A loop that has not beaten for so long is stuck: /healthz says 503."""
SWITCH_SECONDS: Final = 0.001
"""Threads change places sooner than by default (5 ms): client threads must not wait for a busy loop."""

log = logger(__name__)


class Process:
    """What the body of a process is given."""

    def __init__(
        self, name: str, instance: str = "", *, clock: Clock | None = None, metrics: Metrics | None = None
    ) -> None:
        self.name = name
        self.instance = instance or f"{socket.gethostname()}-{os.getpid()}"
        self.clock: Clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.stopping = threading.Event()
        """Set by SIGTERM or SIGINT: finish what is in hand and return."""
        self._ready = threading.Event()
        self._beat = self.clock.monotonic()
        self._on_stop: list[Callable[[], None]] = []

    def ready(self) -> None:
        """The loop does its work from now on: clients are warm and consumers positioned. Idempotent."""
        if not self._ready.is_set():
            # What start-up made lives as long as the process: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            self._ready.set()
            log.info("ready")

    def is_ready(self) -> bool:
        """Whether `ready` was called."""
        return self._ready.is_set()

    def beat(self) -> None:
        """The loop is going round; call it at least every few seconds."""
        self._beat = self.clock.monotonic()

    def is_alive(self) -> bool:
        """Whether the last beat is recent."""
        return self.clock.monotonic() - self._beat < STUCK_SECONDS

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call this, too, when the process is told to stop; it must be safe in a signal handler.

        An asyncio body gives `lambda: loop.call_soon_threadsafe(event.set)`.
        """
        self._on_stop.append(callback)

    def stop(self) -> None:
        """Ask the body to finish what is in hand and return, as the first signal does."""
        self.stopping.set()
        for callback in self._on_stop:
            callback()


class ServiceSettings(Protocol):
    """A service's settings: a frozen dataclass with a field `process`."""

    @property
    def process(self) -> ProcessSettings: ...


S = TypeVar("S", bound=ServiceSettings)


def start(name: str, kind: type[S], body: Callable[[Process, S], None]) -> int:
    """Load a service's settings, then `serve`; returns the exit code. The whole of a service's `main`."""
    try:
        settings = load(kind)
    except StopProcess as error:
        return _complain(name, error, EX_CONFIG)
    return serve(name, settings.process, lambda process: body(process, settings))


def serve(name: str, settings: ProcessSettings, body: Callable[[Process], None]) -> int:
    """Run `body` in the frame of a process until it returns; returns the exit code.

    0: told to stop and drained. 78: `StopProcess`, its sentence on stderr. 75: a server that was needed at
    the start did not come (`RetryLater`). 1: a bug, logged with its traceback. The first SIGTERM or SIGINT
    sets `process.stopping` (before `ready` there is nothing to drain: it exits); the second exits at once.
    """
    process = Process(name, settings.instance)
    health: HealthServer | None = None
    try:
        configure(settings.log_format, settings.log_level, name, process.instance)
        health = HealthServer(
            settings.http_host,
            settings.http_port,
            alive=process.is_alive,
            ready=process.is_ready,
            metrics=process.metrics,
        )
        log.info("started", host=settings.http_host, port=health.port, pid=os.getpid())
        sys.setswitchinterval(SWITCH_SECONDS)
        _handle_signals(process)
        body(process)
    except StopProcess as error:
        return _complain(name, error, EX_CONFIG)
    except RetryLater as error:
        return _complain(name, error, EX_TEMPFAIL)
    except Exception:
        log.exception("crashed")
        return 1
    finally:
        if health is not None:
            health.close()
    log.info("stopped")
    return 0


def _handle_signals(process: Process) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # whoever runs a service in a thread stops it by `Process.stop`

    def handle(number: int, _frame: FrameType | None) -> None:
        if process.stopping.is_set():
            os._exit(128 + number)
        process.stop()
        if not process.is_ready():
            sys.exit(0)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _complain(name: str, error: Exception, code: int) -> int:
    print(f"penstock {name}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the line is for people
    return code
