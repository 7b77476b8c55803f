"""`penstock chaos` in a running stack: everything that it can kill, and the jobs that come back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.core.ids import uuid4

PATIENCE = "--seconds=120"


def chaos(folder: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code, and what it told."""
    command = [sys.executable, "-m", "penstock", "chaos", *words, PATIENCE, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def running(told: list[dict[str, Any]]) -> set[str]:
    """The jobs that ran at the kill."""
    return set(next(line["jobs"] for line in told if line["event"] == "running"))


@pytest.mark.timeout(500)
def test_whatever_is_killed_the_jobs_come_back(start_stack: Any, wait_until: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with start_stack("--slots=4") as stack:
        code, told = chaos(stack.folder, "service", "advancer")
        assert (code, told[0]["event"]) == (0, "own"), "nothing ran: a job of its own is started"
        assert told[-1]["states"].keys() <= {"RUNNING", "SUCCESS"}

        enough, long = tmp_path / "enough", uuid4()
        wait = f"while [ ! -e {enough} ]; do sleep 0.1; done"
        stack.submit({"name": "shop", "jobs": {"a": {"run": wait}, "b": {"run": wait}}}, long)
        wait_until(lambda: {state for state, _ in stack.jobs(long).values()} == {"RUNNING"})
        for words in (("kafka", "--wipe"), ("postgres",), ("service", "gateway")):
            code, told = chaos(stack.folder, *words)
            assert code == 0
            assert running(told) >= {"shop/a", "shop/b"}
            assert told[-1]["started_again"] == 0, f"{words}: who lives keeps its jobs"

        code, told = chaos(stack.folder, "worker")
        assert code == 0
        assert running(told) == {"shop/a", "shop/b"}
        assert told[-1]["started_again"] == 2
        steps = [(line["name"], line["state"], line["reason"]) for line in told if line["event"] == "job"]
        for name in ("shop/a", "shop/b"):
            assert (name, "QUEUED", "worker-lost") in steps
            assert (name, "RUNNING", None) in steps
        stack.db.close()  # Postgres was killed meanwhile
        enough.touch()
        assert stack.wait(long) == {long: "SUCCESS"}
