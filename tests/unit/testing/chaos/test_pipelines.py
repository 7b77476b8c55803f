"""Drawn pipelines are what a gateway takes, and their bodies say what they do."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from penstock.core.ids import uuid4
from penstock.definition.request import read_request
from penstock.events.pipelines import PipelineRequested
from penstock.testing.chaos.pipelines import draw_definition
from penstock.testing.history.checks.logs import MARK
from penstock.testing.history.folder import read_runs


@pytest.mark.parametrize("seed", range(30))
def test_a_gateway_would_take_it(seed: int) -> None:
    definition = draw_definition(random.Random(seed), "p", Path("/tmp/runs"))
    requested = PipelineRequested(tenant="default", request_id="key", definition=definition)
    read = read_request(requested, now=0.0)
    assert len(read.plan.jobs) == len(definition["jobs"])


def test_a_body_tells_its_run_and_names_its_lines(tmp_path: Path) -> None:
    definition = draw_definition(random.Random(4), "p", tmp_path)
    job_id = uuid4()
    for job in definition["jobs"].values():
        for attempt in ("1", "2"):
            told = subprocess.run(
                ("bash", "-c", job["run"]),
                env={"CI_JOB_ID": job_id, "CI_ATTEMPT": attempt, "PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=False,
            )
            (run,) = read_runs(tmp_path)[job_id, int(attempt)]
            lines = (told.stdout + told.stderr).splitlines()
            assert run.exit_code == told.returncode
            assert run.lines == len(lines)
            assert all(MARK.fullmatch(line) for line in lines)
        (tmp_path / job_id).unlink()
