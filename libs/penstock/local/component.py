"""One supervised process: start, wait until it is ready, start again when it ends, stop."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from penstock.core.errors import StopProcess
from penstock.local.process import Command, exit_text, kill_group, spawn, tail

State = Literal["waiting", "starting", "ready", "restarting", "stopping", "stopped"]

BACKOFF: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each restart; the last one repeats."""
STABLE_SECONDS: Final = 60.0
"""After being ready for so long the next failure counts as the first."""
UNREADY: Final = "cannot be made ready"
HOPELESS: Final = (2, 4, 78)
"""Exit codes of processes that another start will not help: wrong usage, wrong configuration (sysexits.h)."""


class Listener(Protocol):
    """Whoever tells people and files what happens to a component."""

    def changed(self, component: Component) -> None:
        """Its state or pid is another."""
        ...

    def ready(self, component: Component, seconds: float) -> None:
        """It became ready that long after its start."""
        ...

    def restarting(self, component: Component, why: str, delay: float) -> None:
        """It ended by itself and is started again after `delay` seconds."""
        ...


def _nothing() -> None:
    pass


async def _at_once() -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Spec:
    """What to run and how to know that it is ready."""

    name: str
    replica: int
    command: Command
    log: Path
    port: int
    ready: Callable[[], Awaitable[None]]
    """Returns once the process does its work; raises `StopProcess` when it never will."""
    prepare: Callable[[], Awaitable[None]] = _at_once
    """Called before each run; raises `StopProcess` when it cannot be run."""
    ended: Callable[[], None] = _nothing
    """Called after each run of the process has ended."""
    start_seconds: float = 90.0
    stop_seconds: float = 10.0

    @property
    def label(self) -> str:
        """Name and replica, as in log files and `PENSTOCK_INSTANCE`."""
        return f"{self.name}-{self.replica}"


class Component:
    """Keeps one process running from `start` until `stop`."""

    def __init__(self, spec: Spec, listener: Listener, backoff: tuple[float, ...] = BACKOFF) -> None:
        self.spec = spec
        self.state: State = "waiting"
        self.restarts = 0
        self.pid = 0
        """Of the running process; 0 when there is none."""
        self._listener = listener
        self._backoff = backoff
        self._failures = 0
        self._stop = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it is ready for the first time.

        Raises:
            StopProcess: it did not become ready in time, or ended saying that a restart will not help.
        """
        first = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first), name=self.spec.label)
        try:
            await asyncio.wait_for(asyncio.shield(first), self.spec.start_seconds)
        except TimeoutError:
            seconds = self.spec.start_seconds
            raise StopProcess(self._with_log(f"was not ready after {seconds:.0f} s")) from None

    async def stop(self) -> None:
        """End it in order, by SIGKILL after its bound; returns when it is gone."""
        self._stop.set()
        if self._keeper is not None:
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._move("stopped")

    def kill(self) -> None:
        """End it and what it started at once."""
        self._stop.set()
        if self.pid:
            kill_group(self.pid, signal.SIGKILL)

    async def _keep(self, first: asyncio.Future[None]) -> None:
        while not self._stop.is_set():
            why = await self._run_once(first)
            if self._stop.is_set():
                return
            if not first.done() and why.startswith(_FINAL):
                # Why it cannot be made ready says it all; why it ended, its log says.
                text = f"{self.spec.label} {why}" if why.startswith(UNREADY) else self._with_log(why)
                first.set_exception(StopProcess(text))
                return
            delay = self._backoff[min(self._failures, len(self._backoff) - 1)]
            self._failures += 1
            self.restarts += 1
            self._move("restarting")
            self._listener.restarting(self, why, delay)
            await self._stopped_within(delay)

    async def _run_once(self, first: asyncio.Future[None]) -> str:
        """One life of the process; returns why it ended."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        try:
            await self.spec.prepare()
            process = await spawn(self.spec.command, self.spec.log)
        except StopProcess as error:
            return f"{UNREADY}: {error}"
        except OSError as error:
            return f"cannot be started: {error}"
        self.pid = process.pid
        self._move("starting")
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(self._stop.wait())
        ready = asyncio.ensure_future(self.spec.ready())
        try:
            await asyncio.wait({ended, stopped, ready}, timeout=self.spec.start_seconds, return_when=_FIRST)
            why = self._unready(ready) if not (ended.done() or stopped.done()) else ""
            if not (why or ended.done() or stopped.done()):
                self._move("ready")
                self._listener.ready(self, clock.time() - began)
                if not first.done():
                    first.set_result(None)
                became = clock.time()
                await asyncio.wait({ended, stopped}, return_when=_FIRST)
                if clock.time() - became > STABLE_SECONDS:
                    self._failures = 0
        finally:
            await _cancelled(ready, stopped)
            code = await self._end(process, ended)
            self.pid = 0
            self.spec.ended()
        return why or f"ended with {exit_text(code)}"

    def _unready(self, ready: asyncio.Future[None]) -> str:
        if not ready.done():
            return f"was not ready after {self.spec.start_seconds:.0f} s"
        error = ready.exception()
        return f"{UNREADY}: {error}" if error else ""

    async def _end(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> int:
        if not ended.done():
            self._move("stopping")
            process.send_signal(self.spec.command.stop_signal)
            await asyncio.wait({ended}, timeout=self.spec.stop_seconds)
        # Also when it ended by itself: what it started in its session must not live on.
        kill_group(process.pid, signal.SIGKILL)
        return await ended

    async def _stopped_within(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._stop.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        await _cancelled(waiting)

    def _move(self, state: State) -> None:
        self.state = state
        self._listener.changed(self)

    def _with_log(self, why: str) -> str:
        log = self.spec.log
        return f"{self.spec.label} {why}. The end of {log}:\n{tail(log)}"


_FIRST: Final = asyncio.FIRST_COMPLETED
_FINAL: Final = (UNREADY, *(f"ended with {exit_text(code)}" for code in HOPELESS))


async def _cancelled(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
