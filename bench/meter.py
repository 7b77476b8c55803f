"""CPU time by component over a window, and how much of the machine others used meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.stack import UnderTest

TICKS = os.sysconf("SC_CLK_TCK")


class Meter:
    """`with Meter(subject) as meter: …`, then its figures."""

    def __init__(self, subject: UnderTest) -> None:
        self._subject = subject
        self.cpu: dict[str, float] = {}
        """Component -> CPU seconds in the window."""
        self.wall_s = 0.0
        self.foreign_cores = 0.0
        self.commits = 0

    def __enter__(self) -> Self:
        self._commits = _commits(self._subject)
        self._before = self._sample()
        self._busy = _busy()
        self._since = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_s = time.monotonic() - self._since
        busy = _busy() - self._busy
        after = self._sample()
        for (name, pid), seconds in after.items():
            self.cpu[name] = self.cpu.get(name, 0.0) + seconds - self._before.get((name, pid), 0.0)
        self.foreign_cores = max(0.0, (busy - sum(self.cpu.values())) / self.wall_s)
        self.commits = _commits(self._subject) - self._commits

    def figures(self, jobs: int) -> dict[str, object]:
        """What every workload prints besides its own figures."""
        total = sum(self.cpu.values())
        return {
            "cpu_ms_per_job": round(total * 1000 / jobs, 3),
            "cpu_by_process": {name: round(s * 1000 / jobs, 4) for name, s in sorted(self.cpu.items())},
            "foreign_cores": round(self.foreign_cores, 2),
            "commits_per_job": round(self.commits / jobs, 3),
            "n": jobs,
        }

    def _sample(self) -> dict[tuple[str, int], float]:
        sample: dict[tuple[str, int], float] = {}
        for name, pids in self._subject.pids().items():
            for pid in pids:
                sample[name, pid] = _cpu_seconds(pid)
        return sample


def rss_mb(pids: list[int]) -> float:
    """Resident memory of these processes in MB."""
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu_seconds(pid: int) -> float:
    """Of the process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS


def _busy() -> float:
    """CPU seconds that the machine has spent at work since it started."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICKS


def _commits(subject: UnderTest) -> int:
    # Statistics are written with a delay of up to a second; a look of our own costs two commits.
    subject.db.rows("SELECT pg_stat_force_next_flush()")
    time.sleep(1.1)
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    return int(subject.db.one(query))
