"""Processes of a job are found while they live, whatever became of their parents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.testing.history.survivors import survivors

JOB = "01900000-0000-7000-8000-00000000c1c1"

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def test_a_living_process_of_a_job_is_found_and_a_dead_one_is_not() -> None:
    command = [sys.executable, "-c", "input()"]
    environ = {"CI_JOB_ID": JOB, "CI_ATTEMPT": "2"}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE) as process:
        # Between fork and exec it still has our own environment.
        while not (found := survivors([JOB], 7.0)):
            assert process.poll() is None
        (one,) = found
        assert (one.job_id, one.attempt, one.pid, one.at) == (JOB, 2, process.pid, 7.0)
        assert "input()" in one.command
        assert survivors(["another"], 7.0) == []
        process.communicate(b"\n")
    assert survivors([JOB], 8.0) == []
