"""An exclusive attempt is dead before its lease ends, whatever happens to its runner (protocol §4)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.clock import SystemClock, pause
from penstock.runtime.settings import EXCLUSIVE_RESERVE_SECONDS
from penstock_services.runner import guard, processes
from penstock_services.runner.cgroup import ControlGroup

Body = Callable[[Any], Coroutine[Any, Any, None]]
now = SystemClock().monotonic

# Heeds no SIGTERM, and neither does the orphan in a session of its own.
STUBBORN = """
trap '' TERM
cat > orphan <<'END'
trap '' TERM
echo $$ >> pids
exec sleep 1000 </dev/null >/dev/null 2>&1
END
sh -c 'env -i setsid sh orphan </dev/null >/dev/null 2>&1 &'
echo $$ >> pids
while [ $(wc -l < pids) -lt 2 ]; do sleep 0.01; done
cat pids
echo ready
while :; do sleep 1000; done
"""
# A runner of its own: one exclusive job, whose moment comes so many seconds after it is ready.
AGENT = """
import asyncio, sys
from pathlib import Path
from penstock.events.jobs import Grant
from penstock.runtime.clock import SystemClock
from penstock_services.runner.executors import ExecutorPlace
from penstock_services.runner.executors.process import ProcessExecutor
from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.processes import Guards
from penstock_services.runner.settings import PlaceSettings

class Output:
    full = False
    def __init__(self, on_ready):
        self.on_ready = on_ready
    def write(self, stream, data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if b"ready" in data:
            self.on_ready()

async def main():
    folder, script, seconds, grace = sys.argv[1:]
    now = SystemClock().monotonic
    guards = Guards(ControlGroup(Path(folder) / "group"))
    executor = ProcessExecutor(ExecutorPlace(Path(folder), PlaceSettings(), guards))
    spec = {"steps": [{"name": "all", "run": script}], "grace": float(grace)}
    grant = Grant("job", 1, "token", "p", "default", "job", spec, lease=60.0)
    def ready():
        until = now() + float(seconds)
        executor.allow(grant, until)
        print(until, flush=True)
    executor.allow(grant, now() + 1000)
    result = await executor.run(grant, Output(ready))
    print("result", result.reason, flush=True)
    await guards.close()

asyncio.run(main())
"""


@pytest.fixture
def on(machine: Any) -> Callable[..., None]:
    """Run a coroutine with a machine."""

    def run(body: Body) -> None:
        async def whole() -> None:
            async with machine() as it:
                await body(it)

        asyncio.run(whole())

    return run


def alive(pids: list[int]) -> list[int]:
    """Those of these processes that are there and not just waiting to be taken note of."""
    return [pid for pid in pids if state(pid) not in ("", "Z")]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def dead_by(moment: float, pids: list[int]) -> None:
    """Wait for their end, which must come before this moment."""
    while alive(pids):
        assert now() < moment, "it lives when its lease has ended"
        pause(0.01)


class Away:
    """A runner in a process of its own, with one stubborn exclusive job."""

    def __init__(self, folder: Path, seconds: float, grace: float) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", AGENT, str(folder), STUBBORN, str(seconds), str(grace)],
            stdout=subprocess.PIPE,
        )
        self.pids = []
        while (line := self.read()) != "ready":
            self.pids.append(int(line))
        self.guards = [pid for pid in guard.descendants(self.process.pid) if guard.__file__ in words_of(pid)]
        assert len(self.guards) == 1
        self.ends_at = float(self.read()) + grace + EXCLUSIVE_RESERVE_SECONDS
        """When its lease ends at the earliest."""

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def close(self) -> None:
        for pid in [self.process.pid, *self.guards, *self.pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()
        ControlGroup(self._folder / "group")  # nobody else is left to remove it


def words_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Callable[..., Away]]:
    made: list[Away] = []

    def make(seconds: float = 3.0, grace: float = 0.5) -> Away:
        made.append(Away(tmp_path, seconds, grace))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_it_is_dead_before_its_lease_ends_while_its_agent_stands_still(away: Callable[..., Away]) -> None:
    it = away()
    os.kill(it.process.pid, signal.SIGSTOP)
    dead_by(it.ends_at, it.pids)
    assert state(it.process.pid) == "T", "nobody helped"
    os.kill(it.process.pid, signal.SIGCONT)
    assert it.read().startswith("penstock: this exclusive job was stopped")
    assert it.read() == "result worker-lost"


def test_it_is_dead_before_its_lease_ends_when_its_agent_is_killed(away: Callable[..., Away]) -> None:
    it = away(seconds=20.0)
    it.process.kill()
    dead_by(it.ends_at, [*it.pids, *it.guards])


def test_after_a_sleep_of_the_machine_it_does_not_run_on(away: Callable[..., Away]) -> None:
    it = away(seconds=5.0)  # all of it is asleep before that
    everything = [it.process.pid, *it.guards, *it.pids]
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    while now() < it.ends_at:
        pause(0.05)
    assert alive(it.pids) == it.pids
    for pid in everything:
        os.kill(pid, signal.SIGCONT)
    assert it.read().startswith("penstock: this exclusive job was stopped")
    assert alive(it.pids) == []


def test_it_ends_by_itself_while_its_agent_is_cut_off(on: Any) -> None:
    async def body(m: Any) -> None:
        begun = m.begin(STUBBORN, until=now() + 1000, grace=0.2)
        pids = await begun.pids()
        begun.allow(now() + 0.3)
        ends_at = now() + 0.5 + EXCLUSIVE_RESERVE_SECONDS
        result = await begun.result
        assert now() < ends_at
        assert (result.success, result.reason) == (False, "worker-lost")
        assert alive(pids) == []
        assert b"exclusive job was stopped" in begun.output.err

    on(body)


def test_one_that_heeds_sigterm_has_its_grace(on: Any) -> None:
    async def body(m: Any) -> None:
        script = "trap 'echo bye; exit 0' TERM\necho ready\nwhile :; do sleep 0.01; done"
        begun = m.begin(script, until=now() + 1000, grace=60)
        await begun.output.until(b"ready\n")
        begun.allow(now() + 0.1)
        result = await begun.result
        assert begun.output.out == b"ready\nbye\n"
        assert result.reason == "worker-lost", "also when it ends well"

    on(body)


def test_a_renewed_lease_lets_it_run_on(on: Any) -> None:
    async def body(m: Any) -> None:
        go = m.folder / "go"
        begun = m.begin(f"echo ready; while [ ! -e {go} ]; do sleep 0.01; done", until=now() + 1000)
        await begun.output.until(b"ready\n")
        begun.allow(now() + 0.5)
        begun.allow(now() + 60.0)
        await asyncio.sleep(1.0)
        assert not begun.result.done()
        go.touch()
        assert (await begun.result).success

    on(body)


def test_no_step_begins_when_the_moment_has_come(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("echo never", until=now() - 1.0)
        assert (result.reason, output.out) == ("worker-lost", b"")

    on(body)


def test_what_a_step_left_behind_dies_when_the_moment_comes_between_steps(on: Any) -> None:
    """As when the agent stands still there."""

    async def body(m: Any) -> None:
        it = m.guards.take()
        out, err = os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
        it.attach(out, err)
        script = "trap '' TERM; sleep 1000 & echo $! > pid"
        ended = await it.run(step(m.folder, script, until=now() + 1000))
        assert not ended.overdue
        it.allow(now() + 0.1)
        pid = int((m.folder / "pid").read_text())
        dead_by(now() + EXCLUSIVE_RESERVE_SECONDS, [pid])
        it.allow(now() + 60.0)
        late = await it.run(step(m.folder, "touch late", until=now() + 60.0))
        assert (late.overdue, late.dead) == (True, False), "it stays over, whatever is heard then"
        await it.finish()
        assert not (m.folder / "late").exists()
        m.guards.give(it)
        assert (await m.run("true"))[0].success, "the guard is good for the next attempt"

    on(body)


def test_a_guard_goes_by_a_clock_that_runs_while_the_machine_sleeps(
    on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a clock cannot be moved for a test, so its reading is: after an hour even the grace is over."""
    slept = tmp_path / "slept"
    program = tmp_path / "guard.py"
    program.write_text(
        "import pathlib, runpy, sys, time\n"
        "read, slept = time.clock_gettime, pathlib.Path(" + repr(str(slept)) + ")\n"
        "sleepless = getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)\n"
        "time.clock_gettime = lambda clock: read(clock) + 3600 * (clock == sleepless and slept.exists())\n"
        f"runpy.run_path({guard.__file__!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(processes, "PROGRAM", program)

    async def body(m: Any) -> None:
        begun = m.begin(STUBBORN, until=now() + 1000, grace=1000)
        pids = await begun.pids()
        slept.touch()
        assert (await begun.result).reason == "worker-lost"
        assert alive(pids) == []

    on(body)


def step(folder: Path, script: str, until: float) -> processes.Step:
    """Not the last one of its attempt."""
    return processes.Step(
        "/bin/sh", ["sh", "-c", script], {}, str(folder), last=False, until=until, grace=0.1
    )
