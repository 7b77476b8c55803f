"""What tests start does not outlive them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.runtime.clock import SystemClock, pause
from penstock.runtime.settings import environment

TESTS = """
import time
from penstock.testing.servers import Stack
print(Stack(["--servers-only"])._process.pid, flush=True)
time.sleep(600)
"""
WAIT_SECONDS = 60.0


def command(pid: int) -> bytes:
    """Its command line; empty once it has ended, though nobody may have buried it yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_a_stack_ends_with_tests_that_are_killed(tmp_path: Path) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", TESTS],
        stdout=subprocess.PIPE,
        env={**environment(), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
    )
    assert tests.stdout is not None
    supervisor = int(tests.stdout.readline())
    (folder,) = tmp_path.glob("penstock-test-*")
    clock = SystemClock()
    until = clock.monotonic() + WAIT_SECONDS
    # Before it is one it is a copy of its parent, then what makes it die with it.
    while b"\0-m\0penstock\0up\0" not in command(supervisor):
        assert clock.monotonic() < until, (folder / "up.log").read_text()
        pause(0.01)
    tests.kill()
    tests.communicate()
    while command(supervisor):
        assert clock.monotonic() < until, (folder / "up.log").read_text()
        pause(0.05)
