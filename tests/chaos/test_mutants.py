"""Mutants on the real stack: one by its turn in every run, all of them with PENSTOCK_MUTANTS=all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.rounds import Rounds, in_order
from penstock.testing.turns import due, turn


def chosen() -> list[str]:
    """`all`, names with commas between, or by default the one whose turn it is."""
    wanted = os.environ.get("PENSTOCK_MUTANTS", "")
    if wanted:
        return in_order(MUTANTS if wanted == "all" else wanted.split(","))
    return due(sorted(MUTANTS), turn(Path(__file__).parent), 1)


@pytest.fixture(scope="module")
def rounds() -> Iterator[Rounds]:
    with Rounds() as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(400)  # the first one starts the stack, on a machine that may be busy
@pytest.mark.parametrize("name", chosen())
def test_a_mutant_is_found(rounds: Rounds, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = rounds.hold(name)
    with capsys.disabled():
        print(f"\nmutant {name}: broken are {' '.join(one.mutated.broken) or 'none'}", one.repeated, sep="\n")
    assert one.passed, one.explained()
