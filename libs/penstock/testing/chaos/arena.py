"""An arena: the whole local stack in a temporary folder, and hands to do things to its processes with."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from penstock.client import Client
from penstock.core.errors import RetryLater, StopProcess
from penstock.local.folder import NAME, StackFolder
from penstock.local.ports import HOST
from penstock.local.process import LAUNCH, is_alive
from penstock.local.record import ProcessRecord, read_record
from penstock.local.stack import Stack, read_stack
from penstock.runtime.clock import SystemClock, pause
from penstock.runtime.settings import KafkaSettings, environment
from penstock.store.database import Database
from penstock.testing.chaos import hooks
from penstock.testing.chaos.proxy import Proxies
from penstock.testing.chaos.stack import HOLDS, TARGETS, Order, Targets
from penstock_services.runner.guard import descendants

CLOCKS: Final = {
    "PENSTOCK_HEARTBEAT_SECONDS": "1",
    "PENSTOCK_SESSION_TTL_SECONDS": "3",
    "PENSTOCK_SCAN_SECONDS": "0.5",
    "PENSTOCK_SWEEP_SECONDS": "2",
    "PENSTOCK_RETRY_BASE_SECONDS": "0.1",
    "PENSTOCK_REPORT_RETRY_SECONDS": "2",
    "PENSTOCK_FRAME_RETRY_SECONDS": "4",
    "PENSTOCK_DRAIN_SECONDS": "1",
}
"""Fast enough that a hundred times as many leases end in an hour."""
TTL_SECONDS: Final = float(CLOCKS["PENSTOCK_SESSION_TTL_SECONDS"])
SCAN_SECONDS: Final = float(CLOCKS["PENSTOCK_SCAN_SECONDS"])
EXCLUSIVE_SECONDS: Final = 10.0
"""For arenas with exclusive jobs: an attempt whose grace is 1 s may run 5 s without an answer."""
SERVERS: Final = ("kafka", "postgres", "s3")
START_SECONDS: Final = 180.0
WAIT_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.02


class Overdue(StopProcess):
    """What was waited for did not come."""


class Arena:
    """A stack that runs from `__enter__` to `__exit__`.

    Components are named as their logs are: `advancer-0`, `runner-1`, `kafka-0`; a server's number may be left
    out. `proxies` are None unless they were asked for. At the end the logs of all are copied to `logs`.
    """

    def __init__(
        self,
        replicas: Mapping[str, int] | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        proxied: bool = False,
        seed: int = 0,
        logs: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
        # As root, Postgres runs as another user and must reach its data below this folder.
        self.folder.chmod(0o755)
        self.hooks = self.folder / "hooks"
        self.proxies: Proxies | None = None
        self._replicas = dict(replicas or {})
        self._environ = dict(environ or {})
        self._proxied = proxied
        self._seed = seed
        self._logs = logs
        self._clock = SystemClock()
        self._end = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Arena:
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            undo.callback(self._keep_logs)
            if self._proxied:
                self.proxies = undo.enter_context(Proxies(self._seed))
            self._start()
            undo.callback(self._stop)
            if self.proxies is not None:
                self._aim(self.proxies)
            self.until(self._is_up, START_SECONDS)
            self.stack: Stack = read_stack(self.folder)
            """The servers' own addresses: not those of the proxies."""
            self.db = undo.enter_context(contextlib.closing(self.database()))
            self._end = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    # What is there

    def components(self) -> list[ProcessRecord]:
        """All of them, as their supervisor sees them now."""
        record = read_record(StackFolder(self.folder / NAME))
        return record.components if record else []

    def component(self, label: str) -> ProcessRecord:
        """One of them."""
        name, _, replica = label.rpartition("-") if "-" in label else (label, "-", "0")
        return next(one for one in self.components() if (one.name, one.replica) == (name, int(replica)))

    def labels(self, *names: str) -> list[str]:
        """The labels of all replicas of these services, of all services by default; never of a server."""
        return [
            f"{one.name}-{one.replica}"
            for one in self.components()
            if one.name not in SERVERS and (not names or one.name in names)
        ]

    def client(self, call_seconds: float = 30.0) -> Client:
        """One that goes on at the next gateway when one is away."""
        ports = [one.port for one in self.components() if one.name == "gateway"]
        urls = ",".join(f"http://{HOST}:{port}" for port in ports)
        return Client(urls, self.stack.token, call_seconds=call_seconds)

    def database(self) -> Database:
        """A connection of its own, straight to the server; for one thread."""
        return Database(self.stack.postgres.dsn, "arena")

    def kafka(self) -> KafkaSettings:
        """How everybody reaches the broker: by its proxy, if there is one."""
        port = self.proxies.kafka.port if self.proxies else None
        return KafkaSettings(kafka_bootstrap=f"{HOST}:{port}" if port else self.stack.kafka.bootstrap)

    def process(self, label: str) -> int:
        """Pid of a component that is ready; waits until it is."""
        self.until(lambda: self.is_ready(label), WAIT_SECONDS, label)
        return self.component(label).pid

    def is_ready(self, label: str) -> bool:
        """Whether a component does its work."""
        one = self.component(label)
        return one.state == "ready" and is_alive(one.child)

    def all_ready(self) -> bool:
        """Whether every component does its work."""
        return all(one.state == "ready" and is_alive(one.child) for one in self.components())

    # What can be done to it

    def kill(self, label: str) -> int:
        """SIGKILL for a component, whatever it does now; the pid it had, 0 if none. It is started again."""
        pid = self.component(label).pid
        return pid if self.kill_process(pid) else 0

    def kill_process(self, pid: int) -> bool:
        """SIGKILL for one process; whether it was there."""
        return pid > 0 and _sent(pid, signal.SIGKILL)

    def below(self, label: str) -> set[int]:
        """The processes that a component started, and theirs."""
        pid = self.component(label).pid
        return descendants(pid) if pid else set()

    def freeze(self, label: str) -> set[int]:
        """SIGSTOP for a component, its children too where it is a server; the processes that stand still."""
        pid = self.component(label).pid
        pids = {pid} | (self.below(label) if label.split("-")[0] in SERVERS else set()) if pid else set()
        return {one for one in pids if _sent(one, signal.SIGSTOP)}

    def thaw(self, pids: set[int]) -> None:
        """Let frozen processes go on."""
        for pid in pids:
            _sent(pid, signal.SIGCONT)

    def hold(self, label: str) -> None:
        """Kill a component, and keep it down until it is released."""
        self._hold(label).touch()
        self.kill(label)

    def release(self, label: str) -> None:
        """Let it start again."""
        self._hold(label).unlink(missing_ok=True)

    def wipe_kafka(self) -> None:
        """Kill the broker and take its data away: it comes back empty, under a fresh cluster id."""
        data = StackFolder(self.folder / NAME).data / "kafka" / "log"
        # First the data: the next broker starts a moment after the kill and must find none.
        data.rename(data.with_name(f"lost-{self._clock.monotonic():.3f}"))
        self.kill("kafka")

    def heal(self) -> None:
        """Whatever was done to it, and by rules of its proxies, is over."""
        hooks.disarm_all(self.hooks)
        if self.proxies is not None:
            for name in SERVERS:
                getattr(self.proxies, name).lift_all()
        self._release_all()
        for one in self.components():
            self.thaw({one.pid, *descendants(one.pid)} if one.pid else set())

    def until(self, done: Callable[[], bool], seconds: float = WAIT_SECONDS, what: str = "") -> None:
        """Wait for something that must come.

        Raises:
            Overdue: it does not in this time.
            StopProcess: the arena itself has ended.
        """
        deadline = self._clock.monotonic() + seconds
        while not done():
            if self._process is None or self._process.poll() is not None:
                raise StopProcess(f"the arena has ended:\n{self._output()}")
            if self._clock.monotonic() > deadline:
                raise Overdue(f"did not come within {seconds:.0f} s: {what or done}")
            pause(LOOK_SECONDS)

    def _start(self) -> None:
        self.hooks.mkdir(mode=0o777)
        ports = {name: getattr(self.proxies, name).port for name in SERVERS} if self.proxies else {}
        order = Order(self._replicas, ports)
        environ = {**environment(), **CLOCKS, **self._environ, **hooks.environment(self.hooks)}
        if ports:
            environ["PENSTOCK_KAFKA_ADVERTISED_PORT"] = str(ports["kafka"])
        command = (sys.executable, "-m", "penstock.testing.chaos.stack", msgspec.json.encode(order).decode())
        kill, ours = str(int(signal.SIGKILL)), str(os.getpid())
        dies_with_us = (sys.executable, "-I", "-S", str(LAUNCH), kill, ours, "-")
        with (self.folder / "up.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*dies_with_us, *command],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _aim(self, proxies: Proxies) -> None:
        self.until((self.folder / TARGETS).exists, START_SECONDS)
        targets = msgspec.json.decode((self.folder / TARGETS).read_bytes(), type=Targets)
        for name in SERVERS:
            getattr(proxies, name).target(HOST, getattr(targets, name))

    def _stop(self) -> None:
        process = self._process
        assert process is not None
        self._release_all()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _keep_logs(self) -> None:
        if self._logs is not None:
            shutil.copytree(StackFolder(self.folder / NAME).logs, self._logs, dirs_exist_ok=True)

    def _is_up(self) -> bool:
        with contextlib.suppress(RetryLater):
            read_stack(self.folder)
            return True
        return False

    def _release_all(self) -> None:
        for hold in (self.folder / HOLDS).glob("*"):
            hold.unlink()

    def _hold(self, label: str) -> Path:
        return self.folder / HOLDS / (label if "-" in label else f"{label}-0")

    def _output(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")[-4000:]


def _sent(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def frozen(arena: Arena, label: str) -> Iterator[set[int]]:
    """A component that stands still for as long as the context lasts."""
    pids = arena.freeze(label)
    try:
        yield pids
    finally:
        arena.thaw(pids)
