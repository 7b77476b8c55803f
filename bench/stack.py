"""The stack under test: its addresses, its processes, and proof that it is durable."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from penstock.core.errors import StopProcess
from penstock.kafka.producer import ACKS, Producer
from penstock.local.stack import Stack, read_stack
from penstock.store.database import Database
from penstock.testing.servers import Stack as OwnStack

SERVERS = ("kafka", "postgres", "s3")


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
    """What it was measured on: cores, commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {"machine_cores": os.cpu_count(), "commit": commit.stdout.strip()}


def show(line: dict[str, object]) -> None:
    """Print one JSON line."""
    print(json.dumps(line), flush=True)
