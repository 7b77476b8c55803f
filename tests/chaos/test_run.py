"""A stack under faults: what was accepted is done, once, and told, whatever fails meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.testing.chaos.run import run
from penstock.testing.chaos.tiers import commit
from penstock.testing.history.report import text
from penstock.testing.turns import turn

SEEDS = 12
"""So many take turns; each can be run again by its number."""


@pytest.mark.timeout(1200)
def test_all_invariants_hold_under_faults(tmp_path: Path) -> None:
    """Another seed for another commit; `python -m penstock.testing.chaos SEED` runs it again."""
    tmp_path.chmod(0o755)
    made = run(commit(turn(Path(__file__).parent) % SEEDS), tmp_path / "history", tell=print)
    assert made.held, text(made)
    assert not [one for one in made.invariants if one.lacks], "all of them are judged by all that there is"
    assert made.figures.jobs >= 300
    assert made.figures.faults >= 10
    assert made.figures.kinds >= 6
