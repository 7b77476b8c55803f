"""Drawn pipelines are what a gateway takes, and their bodies say what they do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from penstock.core.ids import uuid4
from penstock.definition import PlannedJob
from penstock.definition.request import read_request
from penstock.events.pipelines import PipelineRequested
from penstock.testing.chaos.pipelines import draw_definition, exclusive_definition
from penstock.testing.history.checks.logs import MARK
from penstock.testing.history.folder import read_runs
from penstock.testing.history.oracle import expanded

BASH: Final = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
"""As the runner starts it."""
JOB: Final = uuid4()
RUNS: Final = Path("/tmp/runs")


def planned(definition: dict[str, Any]) -> list[PlannedJob]:
    """What a gateway makes of it."""
    requested = PipelineRequested(tenant="default", request_id="key", definition=definition)
    return list(read_request(requested, now=0.0).plan.jobs)


@pytest.mark.parametrize("seed", range(30))
def test_a_gateway_would_take_it(seed: int) -> None:
    definition = draw_definition(random.Random(seed), "p", RUNS)
    assert [job.name for job in planned(definition)] == list(expanded(definition))


def test_some_hold_what_others_want() -> None:
    definitions = [draw_definition(random.Random(seed), "p", RUNS) for seed in range(60)]
    kinds = {(kind, most) for one in definitions for job in planned(one) for kind, _, most in job.holds}
    assert kinds == {("lock", None), ("lock", 1), ("matrix", 1), ("matrix", 2), ("group", 1)}


def test_a_gateway_would_take_an_exclusive_job() -> None:
    (job,) = planned(exclusive_definition(RUNS, 20.0))
    assert (job.spec["exclusive"], job.spec["grace"]) == (True, 1.0)


def test_a_few_jobs_are_exclusive() -> None:
    definitions = [draw_definition(random.Random(seed), "p", RUNS) for seed in range(30)]
    jobs = [job for one in definitions for job in one["jobs"].values()]
    exclusive = [job for job in jobs if job.get("exclusive")]
    assert 0 < len(exclusive) < len(jobs) / 10
    assert all("flock" in job["run"] for job in exclusive)


@contextlib.contextmanager
def ran(body: str, attempt: int, path: str = "/usr/bin:/bin") -> Iterator[subprocess.CompletedProcess[str]]:
    """An attempt that has ended. What it left behind is killed when the context ends."""
    environ = {"CI_JOB_ID": JOB, "CI_ATTEMPT": str(attempt), "PATH": path}
    process = subprocess.Popen(
        (*BASH, body),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate()
        yield subprocess.CompletedProcess(body, process.returncode, stdout, stderr)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def all_dead(journal: Path) -> None:
    """Wait until no process holds the lock any more."""
    with journal.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def test_a_body_tells_its_run_and_names_its_lines(tmp_path: Path) -> None:
    definition = draw_definition(random.Random(4), "p", tmp_path)
    for job in definition["jobs"].values():
        for attempt in (1, 2):
            with ran(job["run"], attempt) as told:
                (run,) = read_runs(tmp_path)[JOB, attempt]
                lines = (told.stdout + told.stderr).splitlines()
                assert run.exit_code == told.returncode
                assert run.lines == len(lines)
                assert run.overlapped_at is None
                assert all(MARK.fullmatch(line) for line in lines)
            all_dead(tmp_path / JOB)
        (tmp_path / JOB).unlink()


def test_an_exclusive_run_sees_what_another_one_left(tmp_path: Path) -> None:
    body = exclusive_definition(tmp_path, 0.0)["jobs"]["alone"]["run"]
    with ran(body, 1), ran(body, 2):
        pass
    all_dead(tmp_path / JOB)
    with ran(body, 3):
        pass
    runs = [read_runs(tmp_path)[JOB, attempt][0] for attempt in (1, 2, 3)]
    assert [run.overlapped_at is not None for run in runs] == [False, True, False]
    assert [run.exit_code for run in runs] == [0, 0, 0]


def test_without_the_tool_a_run_fails_and_accuses_nobody(tmp_path: Path) -> None:
    runs, tools = tmp_path / "runs", tmp_path / "tools"
    runs.mkdir()
    tools.mkdir()
    (tools / "bash").symlink_to("/bin/bash")
    body = exclusive_definition(runs, 0.0)["jobs"]["alone"]["run"]
    with ran(body, 1, path=str(tools)) as told:
        assert told.returncode != 0
    (run,) = read_runs(runs)[JOB, 1]
    assert (run.exit_code, run.overlapped_at) == (None, None)
