"""A runner that is embedded in a process leaves that process's own children alone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.processes import Guards


async def test_children_from_before_are_spared_when_a_guard_is_buried(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as mine:  # noqa: ASYNC220 - the stranger is nobody's coroutine
        try:
            guards = Guards(ControlGroup(tmp_path / "group"))
            guard = guards.take()
            os.kill(guard.pid, signal.SIGKILL)
            await guards.bury(guard)
            assert mine.poll() is None
            await guards.close()
        finally:
            mine.kill()
