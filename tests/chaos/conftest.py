"""Whose turn it is: what is too much for every test run takes turns from commit to commit."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from penstock.runtime.clock import SystemClock, rfc3339


@pytest.fixture(scope="session")
def turn() -> int:
    """The same for the same commit, and without one for the same day."""
    here = Path(__file__).parent
    git = subprocess.run(("git", "rev-parse", "HEAD"), cwd=here, capture_output=True, text=True, check=False)
    of = git.stdout.strip() or rfc3339(SystemClock().now())[:10]
    return int.from_bytes(hashlib.sha256(of.encode()).digest()[:8], "big")
