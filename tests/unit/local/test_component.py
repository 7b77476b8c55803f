"""One supervised process, with children that only wait or end."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from penstock.core.errors import StopProcess
from penstock.local.component import Component, Spec
from penstock.local.process import Child, Command, end_leftovers, is_alive, spawn, started

WAITS = "import signal; signal.pause()"


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.restarts: list[tuple[str, float]] = []
        self.ready_again = asyncio.Event()

    def changed(self, component: Component) -> None:
        self.states.append(component.state)

    def ready(self, component: Component, seconds: float) -> None:
        if component.restarts:
            self.ready_again.set()

    def restarting(self, component: Component, why: str, delay: float) -> None:
        self.restarts.append((why, delay))


async def at_once() -> None:
    pass


async def never() -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process, no event
        await asyncio.sleep(0.001)


def spec(tmp_path: Path, code: str, ready: Callable[[], Awaitable[None]] = at_once, **more: float) -> Spec:
    command = Command((sys.executable, "-S", "-c", code), dict(os.environ), tmp_path)
    return Spec("thing", 0, command, tmp_path / "thing-0.log", 1, ready, **more)  # type: ignore[arg-type]


def test_ready_then_stopped(tmp_path: Path) -> None:
    async def scene() -> tuple[Heard, Component, int]:
        heard = Heard()
        component = Component(spec(tmp_path, WAITS), heard)
        await component.start()
        pid = component.pid
        await component.stop()
        return heard, component, pid

    heard, component, pid = asyncio.run(scene())
    assert heard.states == ["starting", "ready", "stopping", "stopped"]
    assert component.pid == 0
    assert not started(pid)


def test_it_is_prepared_before_each_run(tmp_path: Path) -> None:
    runs: list[int] = []

    async def prepare() -> None:
        runs.append(len(runs))

    async def scene() -> None:
        heard = Heard()
        made = dataclasses.replace(spec(tmp_path, WAITS), prepare=prepare)
        component = Component(made, heard, backoff=(0.0,))
        await component.start()
        os.kill(component.pid, signal.SIGKILL)
        await heard.ready_again.wait()
        await component.stop()

    asyncio.run(scene())
    assert runs == [0, 1]


def test_one_that_cannot_be_prepared_says_why(tmp_path: Path) -> None:
    async def prepare() -> None:
        raise StopProcess("no disk")

    async def scene() -> None:
        component = Component(dataclasses.replace(spec(tmp_path, WAITS), prepare=prepare), Heard())
        with pytest.raises(StopProcess, match="thing-0 cannot be made ready: no disk"):
            await component.start()

    asyncio.run(scene())


def test_one_that_dies_is_started_again_and_said(tmp_path: Path) -> None:
    async def scene() -> Heard:
        heard = Heard()
        component = Component(spec(tmp_path, WAITS), heard, backoff=(0.0,))
        await component.start()
        os.kill(component.pid, signal.SIGKILL)
        await heard.ready_again.wait()
        assert component.restarts == 1
        await component.stop()
        return heard

    heard = asyncio.run(scene())
    assert heard.restarts == [("ended with killed by SIGKILL", 0.0)]


def test_back_off_grows(tmp_path: Path) -> None:
    async def scene() -> Heard:
        heard = Heard()
        component = Component(
            spec(tmp_path, "raise SystemExit(3)", never), heard, backoff=(0.0, 0.001, 0.002)
        )
        starting = asyncio.ensure_future(component.start())
        await until(lambda: len(heard.restarts) >= 4)
        starting.cancel()
        await component.stop()
        return heard

    heard = asyncio.run(scene())
    assert [delay for _, delay in heard.restarts[:4]] == [0.0, 0.001, 0.002, 0.002]
    assert heard.restarts[0][0] == "ended with exit code 3"


def test_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    async def scene() -> None:
        component = Component(
            spec(tmp_path, "import sys; sys.stderr.write('no dsn'); sys.exit(78)", never), Heard()
        )
        try:
            await component.start()
        finally:
            await component.stop()

    with pytest.raises(StopProcess, match=r"thing-0 ended with exit code 78.*thing-0\.log(?s:.*)no dsn"):
        asyncio.run(scene())


def test_what_cannot_be_made_ready_fails_the_start(tmp_path: Path) -> None:
    async def refuses() -> None:
        raise StopProcess("its data are of another version")

    async def scene() -> None:
        component = Component(spec(tmp_path, WAITS, refuses), Heard())
        try:
            await component.start()
        finally:
            await component.stop()

    with pytest.raises(StopProcess, match="cannot be made ready: its data are of another version"):
        asyncio.run(scene())


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"import signal; {ignore}; open('deaf', 'w').close(); signal.pause()"

    async def is_deaf() -> None:
        await until((tmp_path / "deaf").exists)

    async def scene() -> int:
        component = Component(spec(tmp_path, deaf, is_deaf, stop_seconds=0.05), Heard())
        await component.start()
        pid = component.pid
        await component.stop()
        return pid

    assert not started(asyncio.run(scene()))


def test_leftovers_are_known_by_pid_and_start(tmp_path: Path) -> None:
    async def scene() -> None:
        command = spec(tmp_path, WAITS).command
        process = await spawn(command, tmp_path / "log")
        child = Child(process.pid, started(process.pid))
        assert is_alive(child)
        other = Child(process.pid, "another start")
        assert not is_alive(other), "the pid alone is not the process"
        waiting = asyncio.ensure_future(process.wait())
        assert await asyncio.to_thread(end_leftovers, [child, other, Child(0, "")]) == 1
        await waiting

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, sys
from pathlib import Path
from penstock.local.process import Command, spawn
async def main():
    command = Command((sys.executable, "-S", "-c", {WAITS!r}), dict(os.environ), Path("."))
    child = await spawn(command, Path("log"))
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""

    async def scene() -> Child:
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert supervisor.stdout is not None
        pid = int(await supervisor.stdout.readline())
        child = Child(pid, started(pid))
        assert is_alive(child)
        supervisor.kill()
        await supervisor.wait()
        await until(lambda: not is_alive(child))
        return child

    assert not is_alive(asyncio.run(scene()))
