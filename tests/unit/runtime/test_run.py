from __future__ import annotations

import dataclasses
import gc
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog

from penstock.core.errors import RetryLater, StopProcess
from penstock.runtime.run import Process, serve, start
from penstock.runtime.settings import ProcessSettings, setting
from penstock.testing.clock import ManualClock


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    interval = sys.getswitchinterval()
    yield
    gc.unfreeze()
    sys.setswitchinterval(interval)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def served(body: Callable[[Process], None]) -> int:
    """The exit code; in a thread, where no signal handlers are set."""
    codes: list[int] = []
    settings = ProcessSettings(instance="test-1")
    thread = threading.Thread(target=lambda: codes.append(serve("test", settings, body)))
    thread.start()
    thread.join()
    return codes[0]


def test_a_body_that_returns_exits_0() -> None:
    seen: list[str] = []

    def body(process: Process) -> None:
        seen.append(f"{process.name} {process.instance}")
        process.stop()
        assert process.stopping.is_set()

    assert served(body) == 0
    assert seen == ["test test-1"]


@pytest.mark.parametrize(
    ("error", "code"), [(StopProcess("set this first"), 78), (RetryLater("no broker answers"), 75)]
)
def test_expected_ends_are_one_line(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def body(_process: Process) -> None:
        raise error

    assert served(body) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"penstock test: {error}"


def test_a_bug_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def body(_process: Process) -> None:
        raise ValueError("a bug")

    assert served(body) == 1
    assert "ValueError" in capsys.readouterr().err


def test_a_missing_setting_is_told_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Settings:
        process: ProcessSettings
        never_set: str = setting(doc="Something needed.")

    monkeypatch.setitem(globals(), "ProcessSettings", ProcessSettings)
    assert start("test", Settings, lambda _process, _settings: None) == 78
    assert "PENSTOCK_NEVER_SET must be set (Something needed.)" in capsys.readouterr().err


def test_a_stuck_loop_is_not_alive() -> None:
    clock = ManualClock()
    process = Process("test", clock=clock)
    clock.advance(59)
    assert process.is_alive()
    clock.advance(2)
    assert not process.is_alive()
    process.beat()
    assert process.is_alive()


def test_ready_is_said_once() -> None:
    process = Process("test")
    assert not process.is_ready()
    process.ready()
    process.ready()
    assert process.is_ready()
    assert process.instance


def test_stop_calls_back() -> None:
    process = Process("test")
    called: list[str] = []
    process.on_stop(lambda: called.append("stop"))
    process.stop()
    assert called == ["stop"]


SERVICE = """
import sys
from penstock.runtime.run import serve
from penstock.runtime.settings import ProcessSettings

def body(process):
    if "ready" in sys.argv:
        process.ready()
    print("running", flush=True)
    while not process.stopping.wait(60):
        pass
    print("draining", flush=True)
    if "stubborn" in sys.argv:
        while True:
            process.clock.sleep(60, __import__("threading").Event())

sys.exit(serve("test", ProcessSettings(), body))
"""


@pytest.mark.parametrize(
    ("words", "signals", "code", "drained"),
    [
        (["ready"], [signal.SIGTERM], 0, True),
        (["ready"], [signal.SIGINT], 0, True),
        ([], [signal.SIGTERM], 0, False),
        (["ready", "stubborn"], [signal.SIGTERM, signal.SIGTERM], 128 + signal.SIGTERM, True),
    ],
    ids=["term drains", "int drains", "nothing to drain before ready", "the second is immediate"],
)
def test_signals(words: list[str], signals: list[signal.Signals], code: int, *, drained: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signals[0])
        if drained:
            assert process.stdout.readline() == b"draining\n"
        for number in signals[1:]:
            process.send_signal(number)
        assert process.wait(30) == code
