"""The guard: a small process that starts an attempt's steps and outlives none of their descendants.

It is a program of its own, run by path with nothing but the standard library, so that it starts in
milliseconds. A runner keeps one a busy slot and uses it for one attempt after another. It makes itself a
child subreaper (Linux): whatever a job starts, double-forked and in sessions of its own, becomes the guard's
child at the latest when its parent dies. So "no child is left" means that the attempt is dead, and it is the
kernel that says so. When the runner goes away, however it goes, the guard kills all of it and ends. An
attempt with an `until` is stopped at that moment, whether the runner stands still or the machine slept: it
is dead before its lease ends (protocol §4).

Orders come as length-prefixed JSON on a Unix socket, the write ends of the attempt's pipes with its first:

| order | what the guard does |
|---|---|
| `{"path", "argv", "env", "cwd", "last", "until", "grace"}` | runs a step; kills what the `last` one left |
| `{"stop": grace}` | SIGTERM to the step's process group and to all that left it, SIGKILL after so long |
| `{"until": moment}` | moves the moment at which the attempt is stopped with its `grace` |
| `{"finish": true}` | kills what the steps left |

Answers are lines of JSON: `{"exited": wait status, "stopped", "overdue", "dead"}`, `{"failed": errno, "text",
"dead"}` (the step could not start) and `{"dead": true}`; `dead` says that no process of the attempt is left,
`overdue` that its moment had come. Moments are seconds of `SLEEPLESS`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

PR_SET_DUMPABLE: Final = 4
PR_SET_CHILD_SUBREAPER: Final = 36
LENGTH: Final = struct.Struct("!I")
RECEIVE_BYTES: Final = 256 * 1024
KILL_AGAIN_SECONDS: Final = 0.05
SLEEPLESS: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""The runner's clock (`penstock.runtime.clock`), which goes on while the machine sleeps."""
LOOK_SECONDS: Final = 0.25
"""How often a moment is looked at: what waits in the kernel stands still while the machine sleeps."""
_CHILDREN: Final = "/proc/{}/task/{}/children"
RESTORED_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
"""Python or the guard ignores these; a job must start with their defaults."""


def become_subreaper() -> bool:
    """Adopt orphaned descendants from now on; False where the system has no such thing."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def conceal() -> bool:
    """Keep this process's memory and environment from others of the same user, its own jobs above all."""
    return _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def descendants(root: int, spared: frozenset[int] = frozenset()) -> set[int]:
    """All children of `root`, and theirs, but the spared ones and theirs; none where there is no /proc.

    They are looked for one after the other, so while some of them end, one that lives may be left out: its
    parent was gone by then, or was a spared one still (who buries that one asks anew). Who must have them
    all asks until there are none.
    """
    children = (
        _children_told if Path(_CHILDREN.format(os.getpid(), os.getpid())).exists() else _children_found()
    )
    found: set[int] = set()
    open_ends = [root]
    while open_ends:
        for pid in children(open_ends.pop()):
            if pid not in found and pid not in spared:
                found.add(pid)
                open_ends.append(pid)
    return found


def _children_told(pid: int) -> list[int]:
    """As the kernel tells them: the cost goes by the size of the tree, not by that of the machine."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_bytes().split())
    return found


def _children_found() -> Callable[[int], Sequence[int]]:
    """The same where a kernel does not tell: by a look at all processes."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name in brackets may hold anything, blanks and brackets too.
                    fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    return lambda pid: children.get(pid, ())


def kill_tree(root: int, spared: frozenset[int] = frozenset()) -> None:
    """SIGKILL `descendants`. All are stopped first, in as many rounds as it takes: then none forks away."""
    frozen: set[int] = set()
    while new := descendants(root, spared) - frozen:
        _signal(new, signal.SIGSTOP)
        frozen |= new
    _signal(frozen, signal.SIGKILL)


def _now() -> float:
    return time.clock_gettime(SLEEPLESS)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        # Gone meanwhile; or another user's (a job that may use sudo): those end with their own parents.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Guard:
    """One attempt at a time: at most one step runs, its leftovers stay until the attempt's end."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._buffer = b""
        self._outputs: list[int] = []
        self._step: int | None = None
        """Process id of the running step, which is its process group's, too."""
        self._status = 0
        self._busy = False
        """A step was started and its end not told yet."""
        self._last = False
        self._deadline: float | None = None
        """Set by a stop: when the grace is over."""
        self._until: float | None = None
        """When the attempt is stopped by itself."""
        self._grace = 0.0
        """And how long it may take to end then."""
        self._overdue = False
        """That moment came: no step of the attempt is run any more."""
        self._wake, self._waker = socket.socketpair()
        self._wake.settimeout(0)
        self._waker.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._poll = select.poll()
        self._poll.register(orders, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def serve(self) -> None:
        """Obey until the runner closes its end."""
        while True:
            ready = {fd for fd, _event in self._poll.poll(self._wait_ms())}
            self._drain_wake()
            # First of all: what an agent that stood still has ordered may be out of date.
            self._look_at_the_clock()
            if self._orders.fileno() in ready and not self._receive():
                self._kill_all()
                return
            self._look_after_children()

    def _wait_ms(self) -> float | None:
        moments = [moment for moment in (self._deadline, self._until) if moment is not None]
        if not moments:
            return None
        return max(0.0, min(LOOK_SECONDS, min(moments) - _now())) * 1000

    def _look_at_the_clock(self) -> None:
        if self._until is None or _now() < self._until:
            return
        left = self._until + self._grace - _now()
        self._until, self._overdue = None, True
        if self._busy:
            self._stop(left)
        else:
            self._kill_all()

    def _receive(self) -> bool:
        try:
            data, outputs, _flags, _address = socket.recv_fds(self._orders, RECEIVE_BYTES, 2)
        except ConnectionError:
            return False
        for fd in outputs:
            os.set_inheritable(fd, False)  # noqa: FBT003 - jobs get them as 1 and 2, and only so
            self._outputs.append(fd)
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            order = json.loads(self._buffer[LENGTH.size : end])
            self._buffer = self._buffer[end:]
            self._obey(order)
        return bool(data)

    def _obey(self, order: dict[str, Any]) -> None:
        if "argv" in order:
            self._run(order)
        elif "finish" in order:
            self._clean_up()
            self._answer({"dead": True})
        elif "until" in order:
            if self._outputs and not self._overdue:  # one that comes after the end is late, not wrong
                self._until = order["until"]
        elif self._busy:  # so is such a stop
            self._stop(order["stop"])

    def _run(self, order: dict[str, Any]) -> None:
        self._last = order["last"]
        self._until, self._grace = order["until"], order["grace"]
        if self._overdue or (self._until is not None and _now() >= self._until):
            self._refuse()
            return
        out, err = self._outputs
        try:
            os.chdir(order["cwd"])
        except OSError as error:
            self._fail(error.errno, f"cannot enter {order['cwd']}: {error.strerror}")
            return
        try:
            self._step = os.posix_spawn(
                order["path"],
                order["argv"],
                order["env"],
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, out, 1),
                    (os.POSIX_SPAWN_DUP2, err, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=RESTORED_SIGNALS,
            )
            self._busy = True
        except OSError as error:
            self._fail(error.errno, f"cannot start {order['path']}: {error.strerror}")
        except ValueError as error:  # a NUL somewhere, or a variable's name with a "="
            self._fail(errno.EINVAL, f"cannot start {order['path']}: {error}")

    def _refuse(self) -> None:
        """The attempt may not run any more, nor what an earlier step left."""
        self._until, self._overdue = None, True
        self._kill_all()
        if self._last:
            self._clean_up()
        self._answer({"stopped": True, "overdue": True, "dead": self._last})

    def _fail(self, number: int | None, text: str) -> None:
        if self._last:
            self._clean_up()
        self._answer({"failed": number, "text": text, "dead": self._last})

    def _stop(self, grace: float) -> None:
        deadline = _now() + grace
        if self._deadline is not None:
            self._deadline = min(deadline, self._deadline)
            return
        self._deadline = deadline
        if self._step is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._step, signal.SIGTERM)
            # Those that left the group would otherwise sit out the grace without knowing of it.
            others = {pid for pid in descendants(os.getpid()) if _group(pid) != self._step}
            _signal(others, signal.SIGTERM)

    def _look_after_children(self) -> None:
        children = self._reap()
        if not self._busy:
            return
        if self._deadline is not None:
            # After a SIGTERM the whole tree, not the step alone, has the grace to end by itself.
            if children and _now() < self._deadline:
                return
        elif self._step is not None:
            return
        self._end_step()

    def _end_step(self) -> None:
        stopped, overdue = self._deadline is not None, self._overdue
        if self._last:
            self._clean_up()
        elif stopped:
            self._kill_all()
        self._busy, self._deadline = False, None
        self._answer({"exited": self._status, "stopped": stopped, "overdue": overdue, "dead": self._last})

    def _clean_up(self) -> None:
        self._kill_all()
        for fd in self._outputs:
            os.close(fd)
        self._outputs = []
        self._until, self._overdue = None, False
        os.chdir("/")

    def _kill_all(self) -> None:
        pause = KILL_AGAIN_SECONDS
        while self._reap():
            kill_tree(os.getpid())
            select.select([self._wake], [], [], pause)
            self._drain_wake()
            pause = min(1.0, pause * 2)

    def _reap(self) -> bool:
        """Take the status of all that ended; whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._step:
                self._step, self._status = None, status

    def _answer(self, answer: dict[str, Any]) -> None:
        # A runner that went away is noticed at the next receive.
        with contextlib.suppress(OSError):
            self._orders.sendall(json.dumps(answer).encode() + b"\n")

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass


def main() -> None:
    """Serve the socket whose descriptor is the first argument; the second is the file of a control group."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    become_subreaper()
    _join(sys.argv[2])
    conceal()  # it has seen the secrets of earlier attempts
    orders = socket.socket(fileno=int(sys.argv[1]))
    orders.set_inheritable(False)  # no job may hold it
    Guard(orders).serve()
    _leave(sys.argv[2])


def _join(entry: str) -> None:
    """Enter the control group of which this is the file, if any."""
    if entry:
        with contextlib.suppress(OSError):
            Path(entry).write_text("0", "ascii")


def _leave(entry: str) -> None:
    """The last one out removes it: a runner that was killed cannot."""
    if entry:
        group = Path(entry).parent
        with contextlib.suppress(OSError):
            (group.parent / "cgroup.procs").write_text("0", "ascii")
            group.rmdir()


if __name__ == "__main__":
    main()
