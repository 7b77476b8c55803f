"""What is armed and what has bitten: files, so that it works across processes and outlives any of them.

`armed/INSTANCE@POINT` holds the action. The process that passes the point moves it to
`bites/INSTANCE@POINT@PID@NANOSECONDS` before it acts: of several threads one wins, and the proof is there
even when the action is the end of the process.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from penstock.runtime.clock import SystemClock, pause
from penstock.testing.chaos.hooks.points import POINTS

ARMED: Final = "armed"
BITES: Final = "bites"
KILLED: Final = 137
"""The exit code of a process that dies at a point, as after SIGKILL."""

_ACTION: Final = re.compile(r"exit|stop|sleep:\d+(\.\d+)?")


class Bite(NamedTuple):
    """An armed point that was passed: by whom, when (Unix seconds), and what it did then."""

    instance: str
    point: str
    pid: int
    at: float
    action: str


def arm(folder: Path, instance: str, point: str, action: str = "exit") -> None:
    """The next time that `instance` passes the point it acts, once.

    `exit`: it dies at once, as by SIGKILL. `stop`: SIGSTOP to itself. `sleep:SECONDS`: the thread sleeps.

    Raises:
        ValueError: there is no such point or action.
    """
    if point not in POINTS:
        raise ValueError(f"no point {point!r}; there are {', '.join(sorted(POINTS))}")
    if not _ACTION.fullmatch(action):
        raise ValueError(f"no action {action!r}; there are exit, stop and sleep:SECONDS")
    part = folder / f".{instance}@{point}"
    part.write_text(action)
    part.rename(folder / ARMED / f"{instance}@{point}")


def disarm(folder: Path, instance: str, point: str) -> None:
    """Take it back if it has not bitten."""
    (folder / ARMED / f"{instance}@{point}").unlink(missing_ok=True)


def disarm_all(folder: Path) -> None:
    """Take back whatever has not bitten."""
    for file in (folder / ARMED).iterdir():
        file.unlink(missing_ok=True)


def bites(folder: Path) -> list[Bite]:
    """All that have bitten so far, in their order."""
    found: list[Bite] = []
    for file in (folder / BITES).iterdir():
        instance, point, pid, at = file.name.split("@")
        found.append(Bite(instance, point, int(pid), int(at) / 1e9, file.read_text()))
    return sorted(found, key=lambda bite: bite.at)


def passing(folder: Path, instance: str, point: str) -> Callable[[], None]:
    """What is called whenever this process passes the point."""
    clock = SystemClock()
    armed = folder / ARMED / f"{instance}@{point}"
    bitten = f"{folder / BITES / armed.name}@{os.getpid()}"

    def passed() -> None:
        mark = Path(f"{bitten}@{int(clock.now() * 1e9)}")
        try:
            armed.rename(mark)
        except FileNotFoundError:
            return
        _act(mark.read_text())

    return passed


def _act(action: str) -> None:
    kind, _, seconds = action.partition(":")
    if kind == "exit":
        os._exit(KILLED)
    elif kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        pause(float(seconds))
