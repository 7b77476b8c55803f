"""Executors: how an attempt is run. Plug-ins of the entry point group `penstock.executors`.

Whatever the executor, an attempt has the same life: grant, slot, journal, reports, timeout, cancel, log. An
executor only says how it runs. Its class is called with an `ExecutorPlace`. It starts processes by
`place.guards` and in no other way: when a guard dies, everything below the runner but the guards is killed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from penstock.core.errors import StopProcess
from penstock.core.states import Reason
from penstock.events.jobs import Grant
from penstock.runtime.log import logger
from penstock_services.runner.frames import Stream
from penstock_services.runner.processes import Guards
from penstock_services.runner.settings import PlaceSettings

GROUP: Final = "penstock.executors"

log = logger(__name__)


class Result(msgspec.Struct, frozen=True):
    """How an attempt ended. `reason` says why it was no success.

    `stopped`: it ended because it was told to, so the reason is that of the order. `exit_code` is 128 + n
    after signal n; None when no process ran. `limited`: named resources that told it to wait, and
    for how many seconds.
    """

    success: bool
    exit_code: int | None = None
    reason: Reason | None = None
    stopped: bool = False
    limited: tuple[tuple[str, float], ...] = ()


class Output(Protocol):
    """Where a job's output goes."""

    @property
    def full(self) -> bool:
        """Whether the job should be held back: stop reading from it and await `room`."""
        ...

    async def room(self) -> None:
        """Wait until it may go on."""
        ...

    def write(self, stream: Stream, data: bytes) -> None:
        """Take bytes as they came; never blocks and never refuses."""
        ...


class ExecutorPlace(msgspec.Struct, frozen=True):
    """What an executor is given: a folder for its workspaces, the runner's settings, and its guards."""

    folder: Path
    settings: PlaceSettings
    guards: Guards


@runtime_checkable
class Executor(Protocol):
    """Runs attempts in the background, each in a task of its own."""

    async def run(self, grant: Grant, output: Output) -> Result:
        """Run it to its end. When this returns, no process of the attempt lives.

        Any exception means `infra-error`: the attempt is tried again elsewhere.
        """
        ...

    def stop(self, grant: Grant, grace: float) -> None:
        """End a running attempt: politely now, by force after `grace` seconds; its `run` returns then.

        May come at any time while `run` runs, and again with a shorter grace.
        """
        ...

    def allow(self, grant: Grant, until: float) -> None:
        """An exclusive attempt may run until this moment of the clock's `monotonic`.

        Then it is ended like by `stop` with the grace of its spec, though the runner be stopped or dead by
        then (`Step.until`). Comes before `run`, and again while it runs, each time with a later moment.
        """
        ...


@runtime_checkable
class ImmediateExecutor(Protocol):
    """Runs attempts that take no time: at once, many in a row, in the event loop itself, without output."""

    def run_now(self, grant: Grant) -> Result:
        """Run it to its end, in microseconds."""
        ...


AnyExecutor = Executor | ImmediateExecutor


def load_executors(place: ExecutorPlace, names: Sequence[str] = ()) -> dict[str, AnyExecutor]:
    """The executors of these names, or all installed.

    Raises:
        StopProcess: one that was asked for by name is not installed or cannot be loaded.
    """
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    executors: dict[str, AnyExecutor] = {}
    for name in names or sorted(points):
        if name not in points:
            raise StopProcess(
                f"PENSTOCK_EXECUTORS: {name!r} is not installed; there are {', '.join(sorted(points))}"
            )
        try:
            executors[name] = points[name].load()(place)
        except Exception as error:  # a plug-in may raise anything when it is loaded
            if names:
                raise StopProcess(f"executor {name!r} cannot be loaded: {error}") from error
            log.warning("executor left out", executor=name, error=str(error))
    return executors
