"""A stack under faults: what was accepted is done, once, and told, whatever fails meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.testing.chaos.arena import START_SECONDS
from penstock.testing.chaos.run import run
from penstock.testing.chaos.tiers import commit
from penstock.testing.history.report import text
from penstock.testing.turns import turn

SEEDS = 12
"""So many take turns; each can be run again by its number."""


PLAN = commit(turn(Path(__file__).parent) % SEEDS)


@pytest.mark.timeout(START_SECONDS + PLAN.seconds + 120)  # whatever does not come, the verdict does
def test_all_invariants_hold_under_faults(tmp_path: Path) -> None:
    """Another seed for another commit; `python -m penstock.testing.chaos SEED` runs it again."""
    tmp_path.chmod(0o755)
    ran = run(PLAN, tmp_path / "history", tell=print)
    assert ran.held, "\n".join((text(ran.verdict), *ran.short))
    assert not [one for one in ran.verdict.invariants if one.lacks], "all are judged by all that there is"
