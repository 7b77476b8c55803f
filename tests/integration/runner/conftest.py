"""The process executor with real processes, and an output that remembers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.core.ids import uuid4, uuid7
from penstock.events.jobs import Grant
from penstock_services.runner import guard
from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.executors import ExecutorPlace, Result
from penstock_services.runner.executors.process import ProcessExecutor
from penstock_services.runner.frames import Stream
from penstock_services.runner.processes import Guards
from penstock_services.runner.settings import PlaceSettings


class Remembered:
    """An `Output` that keeps everything; `full` holds the job back."""

    def __init__(self) -> None:
        self.streams: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self.full = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def out(self) -> bytes:
        return self.streams["stdout"]

    @property
    def err(self) -> bytes:
        return self.streams["stderr"]

    def write(self, stream: Stream, data: bytes) -> None:
        self.streams[stream] += data
        self._changed.set()

    async def room(self) -> None:
        await self._room.wait()

    def make_room(self) -> None:
        self.full = False
        self._room.set()

    async def until(self, text: bytes) -> None:
        """Wait until stdout has this in it."""
        while text not in self.out:
            self._changed.clear()
            await self._changed.wait()


class Machine:
    """Runs jobs as a runner would."""

    def __init__(self, folder: Path, guards: Guards, settings: PlaceSettings) -> None:
        self.folder = folder
        self.guards = guards
        self.executor = ProcessExecutor(ExecutorPlace(folder / "work", settings, guards))

    def begin(
        self, *scripts: str, git: dict[str, Any] | None = None, until: float | None = None, **spec: Any
    ) -> Begun:
        """Start a job of these steps; `spec` is the rest of its specification. `until`: it is exclusive."""
        steps = spec.pop("steps", None) or [{"name": script, "run": script} for script in scripts]
        grant = Grant(
            uuid7(1_700_000_000.0), 1, uuid4(), "p", "default", "job", {"steps": steps, **spec}, git, "pipe"
        )
        if until is not None:
            self.executor.allow(grant, until)
        return Begun(self.executor, grant)

    async def run(self, *scripts: str, **more: Any) -> tuple[Result, Remembered]:
        """Run a job to its end."""
        begun = self.begin(*scripts, **more)
        return await begun.result, begun.output


class Begun:
    """A job that runs."""

    def __init__(self, executor: ProcessExecutor, grant: Grant) -> None:
        self.grant = grant
        self.output = Remembered()
        self._executor = executor
        self.result = asyncio.ensure_future(executor.run(grant, self.output))

    def stop(self, grace: float) -> None:
        self._executor.stop(self.grant, grace)

    def allow(self, until: float) -> None:
        self._executor.allow(self.grant, until)

    async def pids(self) -> list[int]:
        """The process ids that the job wrote in its first lines, up to one with `ready`."""
        await self.output.until(b"ready\n")
        return [int(line) for line in self.output.out.split() if line.isdigit()]


MakeMachine = Callable[..., AbstractAsyncContextManager[Machine]]


@pytest.fixture
def machine(tmp_path: Path) -> MakeMachine:
    """A machine; when it is left no process of it may live. Settings by keyword."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Machine]:
        guards = Guards(ControlGroup(tmp_path / "group"))
        # Servers of the test run among them, which fork as they please.
        before = frozenset(guard.descendants(os.getpid()))
        it = Machine(tmp_path, guards, PlaceSettings(**settings))
        try:
            yield it
        finally:
            await guards.close()
        assert guard.descendants(os.getpid(), before) == set()

    return make
