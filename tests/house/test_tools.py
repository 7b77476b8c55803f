"""The tools of `make lint`, each as a test, so that `make test` alone says whether the tree is clean.

None of them needs a network: pyright's wheel brings its own bundle, and its `nodejs` extra brings Node.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("libs", "services")


def run(*words: str) -> None:
    """Run a module in this interpreter's environment; what it says is the failure."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": "libs:services", "NO_COLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"


def test_ruff_check() -> None:
    run("ruff", "check", ".")


def test_ruff_format() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mypy() -> None:
    run("mypy", "--strict", *CODE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pyright() -> None:
    run("pyright", "--pythonpath", sys.executable, *CODE)
