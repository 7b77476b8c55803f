"""The runner's side of its guards: start them, give them orders, notice when one is gone.

A guard (`guard.py`) runs the steps of one attempt at a time and leaves no process of it behind. Guards are
started when first needed and kept for the next attempt, so an attempt costs one message and one spawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import PenstockError
from penstock.runtime.log import logger
from penstock_services.runner import guard as program
from penstock_services.runner.cgroup import ControlGroup

PROGRAM: Final = Path(program.__file__)
ANSWER_BYTES: Final = 64 * 1024

log = logger(__name__)


class GuardLost(PenstockError):
    """The guard of an attempt died (killed by the job itself, or for want of memory); its tree was killed."""


class Step(msgspec.Struct, frozen=True):
    """What to start: `path` is the program, `env` its whole environment; the attempt ends with the `last`.

    `until`: the moment of `Clock.monotonic` at which the guard stops the attempt by itself, with this grace.
    """

    path: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    last: bool
    until: float | None
    grace: float


class Ended(msgspec.Struct, frozen=True):
    """How a step ended: its wait status, or (`failed`, an errno, and `text`) why it could not start.

    `stopped`: it was told to stop before it ended, or (`overdue`) the moment came until which it might run.
    `dead`: no process of the attempt is left.
    """

    exited: int = 0
    failed: int | None = None
    text: str = ""
    stopped: bool = False
    overdue: bool = False
    dead: bool = False


class _Finish(msgspec.Struct, frozen=True):
    finish: bool = True


class _Until(msgspec.Struct, frozen=True):
    until: float


class _Stop(msgspec.Struct, frozen=True):
    stop: float


_encode = msgspec.json.Encoder().encode
_answers: Final = msgspec.json.Decoder(Ended)


class Guard:
    """One guard process. One attempt at a time: `attach`, then `run` steps until one answers `dead`."""

    def __init__(self, group: str) -> None:
        """Start it; it boots while the caller goes on. `group`: see `ControlGroup.entry`."""
        self._loop = asyncio.get_running_loop()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM), str(theirs.fileno()), group],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        self._socket.settimeout(0)
        self._answer: asyncio.Future[Ended] | None = None
        self._buffer = b""
        self._unsent = b""
        self._outputs: list[int] = []
        self.lost = False
        """The process is gone; the guard is of no more use."""
        self._loop.add_reader(self._socket, self._on_readable)

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._process.pid

    def attach(self, out: int, err: int) -> None:
        """Give it the write ends of an attempt's two pipes, to keep; they go with the next order."""
        self._outputs = [out, err]

    async def run(self, step: Step) -> Ended:
        """Start a step and wait for its end.

        Raises:
            GuardLost: the guard died.
        """
        return await self._order(_encode(step))

    def stop(self, grace: float) -> None:
        """End the running step: SIGTERM now, SIGKILL to whatever is left after `grace` seconds.

        The pending `run` answers once all are dead. A second call may only shorten the grace.
        """
        self._send(_encode(_Stop(grace)))

    def allow(self, until: float) -> None:
        """Move the moment until which the attempt may run."""
        self._send(_encode(_Until(until)))

    async def finish(self) -> None:
        """Kill what the attempt's steps left behind; returns when nothing is left.

        Raises:
            GuardLost: the guard died.
        """
        await self._order(_encode(_Finish()))

    def close(self) -> None:
        """Let it go: it kills what it still has and ends."""
        self._close_outputs()
        self._forget_socket()
        self._socket.close()
        if self.lost:
            self._process.wait()  # at once: its end of the socket closed because it ended

    async def wait_closed(self) -> None:
        """Wait for the end of the process after `close`; it ends when everything it had is dead."""
        await asyncio.to_thread(self._process.wait)

    async def _order(self, order: bytes) -> Ended:
        if self.lost:
            raise GuardLost(f"guard {self.pid} is gone")
        self._answer = self._loop.create_future()
        self._send(order)
        return await self._answer

    def _send(self, order: bytes) -> None:
        whole = program.LENGTH.pack(len(order)) + order
        self._unsent += whole
        if len(self._unsent) == len(whole):
            self._on_writable()

    def _on_writable(self) -> None:
        try:
            sent = socket.send_fds(self._socket, [self._unsent], self._outputs)
            self._close_outputs()
        except BlockingIOError:
            sent = 0
        except OSError:
            # It is gone: the reader notices and fails the pending answer.
            sent = len(self._unsent)
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._socket, self._on_writable)
        else:
            self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(ANSWER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._on_lost()
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(_answers.decode(line))

    def _close_outputs(self) -> None:
        for fd in self._outputs:
            os.close(fd)
        self._outputs = []

    def _forget_socket(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)

    def _on_lost(self) -> None:
        self.lost = True
        self._forget_socket()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(GuardLost(f"guard {self.pid} is gone"))


class Guards:
    """The idle guards of a runner; `take` one for an attempt, `give` it back when the attempt is dead."""

    def __init__(self, group: ControlGroup) -> None:
        """`group`: where guards live, and all that they start."""
        self._group = group
        self._idle: list[Guard] = []
        self._all: set[Guard] = set()
        # Whoever embeds a runner may have children of its own: they are no job's orphans.
        self._others = frozenset(program.descendants(os.getpid(), frozenset()))
        self._adopts = program.become_subreaper()

    def take(self) -> Guard:
        """An idle guard, or a new one. Raises `OSError` when no process can be started."""
        while self._idle:
            guard = self._idle.pop()
            if not guard.lost:
                return guard
            self._forget(guard)
        guard = Guard(self._group.entry())
        self._all.add(guard)
        return guard

    def give(self, guard: Guard) -> None:
        """Its attempt is dead: keep it for the next."""
        self._idle.append(guard)

    async def bury(self, guard: Guard) -> None:
        """Its process died: kill what it guarded (the kernel made that the runner's own children)."""
        self._forget(guard)
        await guard.wait_closed()
        if not self._adopts:
            return
        pause = program.KILL_AGAIN_SECONDS
        while orphans := program.descendants(os.getpid(), self._spared()):
            program.kill_tree(os.getpid(), self._spared())
            _reap(orphans)
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def close(self) -> None:
        """End all guards; whatever an attempt still has is killed."""
        guards = list(self._all)
        for guard in guards:
            self._forget(guard)
        for guard in guards:
            await guard.wait_closed()
        await asyncio.to_thread(self._group.close)

    def _forget(self, guard: Guard) -> None:
        self._all.discard(guard)
        guard.close()

    def _spared(self) -> frozenset[int]:
        return self._others | {guard.pid for guard in self._all}


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
