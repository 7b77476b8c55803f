"""Runner and guards killed at once: the runner's next life ends what they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock_services.runner.cgroup import ControlGroup, own_group

RUNNER = """
import asyncio, os, sys
from pathlib import Path
from penstock.events.jobs import Grant
from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.executors import ExecutorPlace
from penstock_services.runner.executors.process import ProcessExecutor
from penstock_services.runner.processes import Guards
from penstock_services.runner.settings import PlaceSettings

class Out:
    full = False
    def write(self, stream, data):
        os.write(1, data)

async def main():
    folder = Path(sys.argv[1])
    guards = Guards(ControlGroup(folder / "group"))
    executor = ProcessExecutor(ExecutorPlace(folder, PlaceSettings(), guards))
    script = "setsid sh -c 'sleep 600 & echo $!; wait' & sleep 600 & echo $!; echo $PPID; wait"
    spec = {"steps": [{"name": "all", "run": script}]}
    await executor.run(Grant("job", 1, "token", "p", "default", "job", spec), Out())

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Where a group may be had."""
    probe = ControlGroup(tmp_path / "probe")
    if not probe.entry():
        pytest.skip(f"there is no control group of our own here (cgroup v2: {own_group()})")
    probe.close()
    return tmp_path / "group"


@contextmanager
def running(record: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """A runner with a job, and the pids of its guard and of two processes of the job, one of them escaped."""
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(record.parent)], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        yield runner, {int(runner.stdout.readline()) for _ in range(3)}


def gone_soon(pids: set[int], group: Path) -> None:
    """All of them end, and the group with them."""
    deadline = time.monotonic() + 10
    while group.exists() or any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.timeout(60)
def test_what_outlived_runner_and_guard_is_ended_by_the_next_life(record: Path) -> None:
    with running(record) as (runner, pids):
        guard = next(pid for pid in pids if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
        for pid in (runner.pid, guard):
            os.kill(pid, signal.SIGSTOP)
        for pid in (runner.pid, guard):
            os.kill(pid, signal.SIGKILL)
    left = pids - {guard}
    assert all(map(is_running, left)), "nobody is there to see to their end"
    group = Path(record.read_text())
    ControlGroup(record)
    assert not group.exists()
    gone_soon(left, group)
    assert not record.exists()


@pytest.mark.timeout(60)
def test_guards_of_a_killed_runner_leave_no_group(record: Path) -> None:
    with running(record) as (runner, pids):
        group = Path(record.read_text())
        assert group.is_dir()
        runner.kill()
    gone_soon(pids, group)


def test_a_record_of_something_else_is_left_alone(tmp_path: Path) -> None:
    record, other = tmp_path / "group", tmp_path / "other"
    other.mkdir()
    record.write_text(str(other))
    ControlGroup(record)
    assert other.is_dir()
    for text in (os.fsencode(tmp_path / "penstock-gone"), b"penstock-\xff", b""):
        record.write_bytes(text)
        ControlGroup(record)
        assert not record.exists()


def test_a_group_is_given_back(record: Path) -> None:
    group = ControlGroup(record)
    assert group.entry() == group.entry()
    made = Path(record.read_text())
    assert made.is_dir()
    group.close()
    assert not made.exists()
    assert not record.exists()


def test_groups_that_a_job_made_in_it_go_with_it(record: Path) -> None:
    made = Path(ControlGroup(record).entry()).parent
    inner = made / "inner" / "most"
    inner.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as job:
        (inner / "cgroup.procs").write_text(str(job.pid))
        ControlGroup(record)
        assert job.wait() == -signal.SIGKILL
    assert not made.exists()
