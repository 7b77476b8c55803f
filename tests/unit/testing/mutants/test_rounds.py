"""What a round comes to by what its plays came to: a second chance for the machine, none for a mutant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.testing.history.making import good

from penstock.testing.chaos.mutants import MUTANTS, rounds
from penstock.testing.chaos.mutants.ground import Trialled
from penstock.testing.chaos.mutants.mutant import Mutant
from penstock.testing.chaos.mutants.rounds import Round, Rounds
from penstock.testing.history import verdict

NAME = "one-need-is-enough"
SHOWN = MUTANTS[NAME].shows[0]
CLEAN = verdict(good())


def trialled(*broken: str, missed: str = "") -> Trialled:
    """A play that breaks these invariants."""
    judged = [
        msgspec.structs.replace(one, state="broken", findings=["it is"], found=1, story=["how it was"])
        if one.invariant in broken
        else one
        for one in CLEAN.invariants
    ]
    made = msgspec.structs.replace(CLEAN, held=not broken, invariants=judged)
    return Trialled(made, missed, 1.0, 1.0)


class Ground:
    """Plays come to what was said before, one after the other."""

    def __init__(self, without: list[Trialled], mutated: list[Trialled]) -> None:
        self.without, self.mutated = without, mutated

    def play(self, _name: str) -> Trialled:
        return self.without.pop(0)

    def play_with(self, _mutant: Mutant, _without: Trialled) -> Trialled:
        return self.mutated.pop(0)


Hold = Callable[..., Round]


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    def play(without: list[Trialled], *mutated: Trialled) -> Round:
        ground: Any = Ground(without, list(mutated))
        monkeypatch.setattr(rounds, "Ground", lambda: ground)
        held = Rounds().hold(NAME)
        assert ground.without == ground.mutated == [], "each was played"
        return held

    return play


def test_a_mutant_that_is_found_in_a_play_that_is_clean_without_it(hold: Hold) -> None:
    one = hold([trialled()], trialled(SHOWN))
    assert one.passed
    assert one.repeated == ""


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (trialled("I13"), "broken were I13"),
        (trialled("I1", "I8", "I13", "I14"), "broken were I1 I8 I13 I14"),
        (trialled("I1", missed="left ends"), "left ends"),
    ],
)
def test_where_the_machine_may_have_stood_still_the_play_is_repeated_and_that_is_told(
    hold: Hold, first: Trialled, why: str
) -> None:
    one = hold([first, trialled()], trialled(SHOWN))
    assert one.passed
    assert one.repeated.endswith(f"the machine may have stood still: {why}")
    assert "first without" in one.explained()


def test_the_second_play_must_be_clean(hold: Hold) -> None:
    assert not hold([trialled("I13"), trialled("I13")], trialled(SHOWN)).passed
    assert not hold([trialled("I13"), trialled(missed="left ends")], trialled(SHOWN)).passed


@pytest.mark.parametrize("broken", [("I5",), ("I5", "I13"), ("I14",), ("I1", "I8")])
def test_what_no_machine_explains_has_no_second_chance(hold: Hold, broken: tuple[str, ...]) -> None:
    one = hold([trialled(*broken)], trialled(SHOWN))
    assert not one.passed
    assert one.repeated == ""


@pytest.mark.parametrize("mutated", [trialled(), trialled("I13"), trialled(missed="left ends")])
def test_a_mutant_that_is_not_found_has_no_second_chance_either(hold: Hold, mutated: Trialled) -> None:
    assert not hold([trialled()], mutated).passed
    assert not hold([trialled("I13"), trialled()], mutated).passed


def test_a_play_is_repeated_once_for_all_mutants_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("claim-without-state", "claim-without-rowcount")
    ground: Any = Ground([trialled("I13"), trialled()], [trialled("I3"), trialled("I4")])
    monkeypatch.setattr(rounds, "Ground", lambda: ground)
    made = Rounds()
    assert all(one.passed and one.repeated for one in map(made.hold, names))
