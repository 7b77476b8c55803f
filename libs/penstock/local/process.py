"""Child processes that never outlive the supervisor, and the record by which leftovers are found.

Linux kills a child with its parent (`launch`). Elsewhere, and for what a child itself left behind, the record
in `processes.json` is the net: pid and start time, checked before the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import StopProcess
from penstock.runtime.clock import pause

LOG_LIMIT: Final = 16 * 1024 * 1024
"""A log larger than this is moved to `NAME.log.1` when its process starts again."""
LAUNCH: Final = Path(__file__).with_name("launch.py")


@dataclasses.dataclass(frozen=True)
class Command:
    """How to start a process."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    directory: Path
    uid: int | None = None
    """Run under this uid, and the gid of the same number, instead of the supervisor's."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to end in order."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends it when the supervisor dies."""


class Child(msgspec.Struct, frozen=True):
    """A process as written down: `started` tells it from a later process with the same pid."""

    pid: int
    started: str


async def spawn(command: Command, log: Path) -> asyncio.subprocess.Process:
    """Start a process in a session of its own, its output appended to `log`.

    Call it from the main thread only: the parent-death signal follows the thread that forked.
    """
    uid = "-" if command.uid is None else str(command.uid)
    launch = (sys.executable, "-I", "-S", str(LAUNCH), str(int(command.orphan_signal)), str(os.getpid()), uid)
    bound_log(log)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *launch,
            *command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=command.directory,
            env=command.environment,
            start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor alone
        )


async def outcome(command: Command, log: Path, seconds: float, title: str = "") -> int:
    """Run a command to its end; its exit code. Raises `StopProcess` when it takes longer."""
    title = title or Path(command.arguments[0]).name
    process = await spawn(command, log)
    try:
        return await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        raise StopProcess(f"{title} took longer than {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            kill_group(process.pid, signal.SIGKILL)
            await process.wait()


async def run(command: Command, log: Path, seconds: float, title: str = "") -> None:
    """Run a command that must succeed. Raises `StopProcess` with the last lines of its log."""
    title = title or Path(command.arguments[0]).name
    code = await outcome(command, log, seconds, title)
    if code:
        raise StopProcess(f"{title} failed ({exit_text(code)}). The end of {log}:\n{tail(log)}")


def bound_log(log: Path) -> None:
    """Move a log over its limit aside; the one moved before is dropped."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(log.name + ".1"))


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, indented; a sentence when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    found = text.strip().splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in found) or "    (it wrote nothing)"


def exit_text(code: int) -> str:
    """A return code as people say it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def kill_group(pid: int, number: signal.Signals) -> None:
    """Signal a process and whatever it started in its own session; nothing when all are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def started(pid: int) -> str:
    """When a living process started, as an opaque word that also names the boot; empty when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        shown = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return "" if shown.stdout.startswith("Z") else shown.stdout.strip().partition(" ")[2].strip()
    try:
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot[:8]}-{fields[19]}"


def is_alive(child: Child) -> bool:
    """Whether this very process still runs."""
    return bool(child.started) and started(child.pid) == child.started


def end_leftovers(children: Iterable[Child], grace: float = 5.0) -> int:
    """End processes that a dead supervisor left behind; returns how many there were.

    They get SIGINT, orderly for Postgres and enough for the rest, then SIGKILL after `grace` seconds.
    """
    left = [child for child in children if is_alive(child)]
    for child in left:
        kill_group(child.pid, signal.SIGINT)
    for _ in range(int(grace / 0.05)):
        if not any(is_alive(child) for child in left):
            return len(left)
        pause(0.05)
    for child in left:
        if is_alive(child):
            kill_group(child.pid, signal.SIGKILL)
    return len(left)


def memory_of(pid: int, *, alone: bool = False) -> int:
    """Resident bytes of a process and its descendants; memory they share is counted once (0 off Linux)."""
    private = shared = 0
    for member in [pid] if alone else descendants(pid):
        fields = _status(member)
        private += fields.get("RssAnon", 0) + fields.get("RssFile", 0)
        shared = max(shared, fields.get("RssShmem", 0))
    return (private + shared) * 1024


def descendants(pid: int) -> list[int]:
    """The process and all that descend from it, by /proc; only itself where there is none."""
    found = [pid]
    for member in found:  # grows while it is walked
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(word) for word in children.read_text().split())
    return found


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if line.startswith("Rss"))
    return {name: int(value.split()[0]) for name, _, value in pairs}
