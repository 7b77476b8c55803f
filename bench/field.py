"""A stack of one workload's own, whose processes may be killed, frozen and held down."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orjson

from bench.door import Door
from bench.stack import UnderTest
from penstock.core.errors import RetryLater, StopProcess
from penstock.events import topics
from penstock.kafka.records import Outgoing
from penstock.store.database import Database
from penstock.testing.chaos.arena import CLOCKS, Arena

T = TypeVar("T")
PRODUCTION = {
    "PENSTOCK_HEARTBEAT_SECONDS": "5",
    "PENSTOCK_SESSION_TTL_SECONDS": "15",
    "PENSTOCK_SCAN_SECONDS": "1",
    "PENSTOCK_SWEEP_SECONDS": "5",
    "PENSTOCK_REPORT_RETRY_SECONDS": "5",
    "PENSTOCK_FRAME_RETRY_SECONDS": "180",
}
"""The clocks as an installation has them by default."""
WAIT_SECONDS = 180.0
LOOK_SECONDS = 0.1


class Field:
    """An arena with a client's producer, a connection that comes back by itself, and a folder for jobs."""

    def __init__(self, arena: Arena, clocks: Mapping[str, str], folder: Path) -> None:
        self.arena = arena
        self.folder = folder
        self.ttl = float(clocks["PENSTOCK_SESSION_TTL_SECONDS"])
        self.scan = float(clocks["PENSTOCK_SCAN_SECONDS"])
        self.heartbeat = float(clocks["PENSTOCK_HEARTBEAT_SECONDS"])
        self.subject = UnderTest(arena.stack, arena.folder)
        self.door = Door(self.subject)

    @property
    def db(self) -> Database:
        """The truth."""
        return self.subject.db

    def submit(self, jobs: Mapping[str, Mapping[str, Any]], count: int = 1, name: str = "bench") -> list[str]:
        """So many pipelines of these jobs by the event door, in one burst; their ids."""
        return self.door.submit([{"name": name, "jobs": jobs}] * count)

    def cancel(self, ids: list[str]) -> float:
        """Ask for the cancel of these pipelines in one burst; Unix seconds at which it was sent."""
        records = [
            Outgoing(
                topics.CANCEL_REQUESTED.name,
                one,
                orjson.dumps({"tenant": "default", "pipeline_id": one}),
                [],
            )
            for one in ids
        ]
        sent = time.time()
        self.subject.producer.send(records)
        return sent

    def count(self, ids: list[str], *states: str) -> int:
        """Jobs of these pipelines in one of these states; 0 while Postgres is away."""
        try:
            return int(
                self.db.one(
                    "SELECT count(*) FROM jobs WHERE pipeline_id = ANY(%s::uuid[]) AND state = ANY(%s)",
                    (ids, list(states)),
                )
            )
        except RetryLater:
            return 0

    def transitions(self, ids: list[str]) -> list[tuple[str, int, str, int, str | None, float]]:
        """(job, version, state, attempt, reason, Unix seconds) of all jobs of these pipelines, by time."""
        rows = patient(
            lambda: self.db.rows(
                "SELECT job_id::text, version, state, attempt, reason, extract(epoch FROM at)::float8"
                " FROM job_transitions WHERE pipeline_id = ANY(%s::uuid[]) ORDER BY at, job_id, version",
                (ids,),
            )
        )
        return [(row[0], row[1], row[2], row[3], row[4], row[5]) for row in rows]

    def until(self, done: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait for something that must come; all times are Postgres', so a look now and then will do.

        Raises:
            StopProcess: it did not come.
        """
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise StopProcess(f"did not come within {seconds:.0f} s: {what}")
            time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def field(
    replicas: Mapping[str, int] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    quick: bool = False,
) -> Iterator[Field]:
    """A fresh stack, with the clocks of tests if it shall be `quick`, else those of an installation."""
    clocks = CLOCKS if quick else PRODUCTION
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    folder.chmod(0o777)
    given = {"PENSTOCK_LOG_LEVEL": "warning", **clocks, **(environ or {})}
    try:
        with Arena(replicas, given) as arena:
            made = Field(arena, clocks, folder)
            try:
                yield made
            finally:
                made.subject.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def patient(call: Callable[[], T], seconds: float = WAIT_SECONDS) -> T:
    """What it answers once the server is there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except RetryLater:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def processes_of(folder: Path) -> dict[int, str]:
    """Living processes of jobs that were told of this folder: pid -> job id."""
    found: dict[int, str] = {}
    told = f"FIELD={folder}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            variables = (entry / "environ").read_bytes().split(b"\0")
            if told in variables:
                job = next((one for one in variables if one.startswith(b"CI_JOB_ID=")), b"=")
                found[int(entry.name)] = job.partition(b"=")[2].decode()
    return found


def is_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"
