"""Both ways to find the processes of a job find the same."""

from __future__ import annotations

import os
import subprocess

import pytest

from penstock_services.runner import guard

TREE = "sleep 60 & (sleep 60 & sleep 60 & echo ready; wait) & wait"


@pytest.mark.parametrize("told", [True, False], ids=["told by the kernel", "looked for"])
def test_a_tree_of_processes_is_found_and_killed(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not told:
        monkeypatch.setattr(guard, "_CHILDREN", "/proc/none/{}/{}")
    before = frozenset(guard.descendants(os.getpid()))
    with subprocess.Popen(["/bin/sh", "-c", TREE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        found = guard.descendants(os.getpid(), before)
        assert process.pid in found
        assert len(found) == 5, "the shell, its subshell and three that sleep"
        assert guard.descendants(os.getpid(), before | {process.pid}) == set(), "a spared one spares its own"
        guard.kill_tree(process.pid)
        process.kill()
