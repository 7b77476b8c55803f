"""A good history is left alone, whatever of it was recorded."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.testing.history.making import good

from penstock.testing.history import verdict


def test_a_good_history_holds() -> None:
    found = verdict(good())
    assert found.problems == []
    assert found.held
    assert {one.state for one in found.invariants} == {"held"}


@pytest.mark.parametrize("part", ["topics", "runs", "faults", "logs", "peeks", "samples", "replays", "lag"])
def test_what_was_not_recorded_is_not_judged(part: str) -> None:
    found = verdict(msgspec.structs.replace(good(), **{part: None}))
    assert found.problems == []
    assert any(part in one.lacks for one in found.invariants)
