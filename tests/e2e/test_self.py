"""Penstock builds Penstock: its own checks as a pipeline, from a checkout of this repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.core.ids import uuid4

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(500)
def test_penstock_runs_its_own_pipeline(client: Any) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    key = uuid4()
    client.submit(
        (ROOT / "examples" / "self.yml").read_text(),
        key,
        git={"repo": str(ROOT), "sha": head.stdout.strip(), "branch": "main"},
        inputs={"python": sys.executable, "tests": "tests/unit/core tests/unit/services/advancer"},
    )
    ends = client.wait(key, seconds=360)
    logs = {name: client.log(key, name).decode() for name in client.jobs(key)}
    assert ends == {key: "SUCCESS"}, "\n".join(f"== {name}\n{text}" for name, text in logs.items())
    assert "Success: no issues found" in logs["types"]
    assert "passed" in logs["unit tests"]
