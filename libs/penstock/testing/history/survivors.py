"""Processes of jobs that are alive now, found by what every job has in its environment (Linux)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from penstock.testing.history.past import Survivor

PROC: Final = Path("/proc")


def survivors(job_ids: Collection[str], now: float) -> list[Survivor]:
    """Living processes of these jobs. Once all of them are over, each is one too many.

    A process that is dead and not buried has no environment; one that we may not read is not seen.
    """
    wanted = frozenset(job_ids)
    found: list[Survivor] = []
    for pid, environ in _environments():
        job_id = environ.get(b"CI_JOB_ID", b"").decode(errors="replace")
        if job_id in wanted:
            attempt = int(environ.get(b"CI_ATTEMPT", b"0") or 0)
            found.append(Survivor(job_id, attempt, pid, now, _command(pid)))
    return found


def _environments() -> Iterator[tuple[int, dict[bytes, bytes]]]:
    for folder in PROC.glob("[0-9]*"):
        if text := _read(folder / "environ"):
            pairs = (entry.partition(b"=") for entry in text.split(b"\0"))
            yield int(folder.name), {name: value for name, _, value in pairs}


def _command(pid: int) -> str:
    return _read(PROC / str(pid) / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def _read(file: Path) -> bytes:
    """Nothing of a process that is gone, or not ours to read."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
