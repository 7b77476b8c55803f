"""The stack under test: its addresses, its processes, and proof that it is durable."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import timeit
from collections.abc import Iterator
from pathlib import Path

import orjson

from penstock.core.errors import StopProcess
from penstock.kafka.producer import ACKS, Producer
from penstock.local.stack import Stack, read_stack
from penstock.store.database import Database
from penstock.testing.servers import Stack as OwnStack

SERVERS = ("kafka", "postgres", "s3")
ROUNDS, ROUND = 25, 2_000
EVENT = {
    "tenant": "default", "pipeline_id": "0199f3a0-0000-7000-8000-000000000001",
    "job_id": "0199f3a0-0000-7000-8000-000000000002", "name": "build", "pool": "default", "lane": "normal",
    "attempt": 1, "tries": 1, "version": 4, "state": "SUCCESS", "previous": "RUNNING", "terminal": True,
    "reason": None, "exit_code": 0, "at": "2026-01-01T00:00:00.000000Z", "duration_ms": 12,
}  # fmt: skip


class UnderTest:
    """One running stack, a client's producer and a connection to look at the truth."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.kafka = stack.kafka_settings()
        self.db = Database(stack.postgres.dsn, "bench")
        self.producer = Producer(self.kafka, name="bench")
        self.producer.warm_up()

    def close(self) -> None:
        """Leave the stack alone."""
        self.producer.close()
        self.db.close()

    def pids(self) -> dict[str, list[int]]:
        """Component -> its processes with all their children (Postgres' back ends, jobs)."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        found: dict[str, list[int]] = {"bench": [os.getpid()], "supervisor": [self.stack.pids["supervisor"]]}
        for component in self.stack.components:
            todo = [component.pid]
            while todo:
                pid = todo.pop()
                found.setdefault(component.name, []).append(pid)
                todo += children.get(pid, [])
        return found

    def durability(self) -> dict[str, str]:
        """The settings that make a figure honest, as the running servers say them.

        Raises:
            StopProcess: one of them is off.
        """
        shown = {name: str(self.db.one(query)) for name, query in _SETTINGS.items()}
        shown["acks"] = ACKS
        if shown["fsync"] != "on" or shown["synchronous_commit"] != "on" or shown["acks"] != "all":
            raise StopProcess(f"not durable, so not measured: {shown}")
        return shown


_SETTINGS = {
    "fsync": "SELECT current_setting('fsync')",
    "synchronous_commit": "SELECT current_setting('synchronous_commit')",
}


@contextlib.contextmanager
def under_test(folder: Path | None, words: list[str]) -> Iterator[UnderTest]:
    """The stack that runs in `folder`, or a fresh one of our own."""
    own = None if folder else OwnStack(words, {"PENSTOCK_LOG_LEVEL": "warning"})
    try:
        if own is not None:
            own.wait()
        where = folder or (own.folder if own else Path.cwd())
        subject = UnderTest(read_stack(where), where)
        try:
            yield subject
        finally:
            subject.close()
    finally:
        if own is not None:
            own.stop()


def machine() -> dict[str, object]:
    """What it was measured on: cores, commit, and how fast it is now: a virtual machine's speed varies.

    dumps_us: `orjson.dumps` of an event, the median of some rounds. By it figures of two runs compare.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    dumps = statistics.median(timeit.repeat(lambda: orjson.dumps(EVENT), number=ROUND, repeat=ROUNDS)) / ROUND
    return {
        "machine_cores": os.cpu_count(),
        "commit": commit.stdout.strip(),
        "dumps_us": round(dumps * 1_000_000, 3),
    }


def show(line: dict[str, object]) -> None:
    """Print one JSON line."""
    print(json.dumps(line), flush=True)
