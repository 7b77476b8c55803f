"""Rounds: mutants against their plays, each without and with, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.ground import Ground, Trialled
from penstock.testing.chaos.mutants.mutant import Mutant
from penstock.testing.chaos.mutants.plays import PLAYS

MOST_PROBLEMS: Final = 20
STANDSTILL: Final = frozenset(("I1", "I8", "I13", "I14"))
"""What a machine that stands still may break: all else holds on any machine."""


class Round(NamedTuple):
    """One mutant, its play without it and with it."""

    mutant: Mutant
    without: Trialled
    mutated: Trialled
    spoiled: Trialled | None = None
    """The first play without it, where the machine may have spoiled that and it was repeated."""

    @property
    def found(self) -> list[str]:
        """Of the invariants that it breaks, those that the verdict names."""
        return [name for name in self.mutant.shows if name in self.mutated.broken]

    @property
    def passed(self) -> bool:
        """Nothing is wrong without the mutant, and what it breaks is found."""
        return self.without.is_clean and bool(self.found)

    @property
    def repeated(self) -> str:
        """That the play without it was repeated, and why; empty when it was not."""
        if self.spoiled is None:
            return ""
        why = self.spoiled.missed or f"broken were {' '.join(self.spoiled.broken)}"
        return f"the play without it was repeated, the machine may have stood still: {why}"

    def explained(self) -> str:
        """What was wrong without it and with it, and the story by which it was found."""
        lines: list[str] = []
        played = [("without", self.without), ("with", self.mutated)]
        if self.spoiled is not None:
            played.insert(0, ("first without", self.spoiled))
        for what, trialled in played:
            problems = trialled.verdict.problems
            seconds = f"{trialled.seconds:.0f} s"
            lines.append(f"{what} {self.mutant.name}, {seconds}: {len(problems) or 'no'} problems")
            lines += [f"    did not come: {trialled.missed}"] if trialled.missed else []
            lines += [f"    {problem}" for problem in problems[:MOST_PROBLEMS]]
        for name in self.found[:1]:
            lines += [f"    {line}" for line in self.mutated.verdict.of(name).story]
        return "\n".join(lines)


class Rounds:
    """Mutants one after the other on one stack; a context manager. Raises StopProcess without a stack."""

    def __init__(self) -> None:
        self._ground = Ground()
        self._without: dict[str, tuple[Trialled, Trialled | None]] = {}

    def __enter__(self) -> Rounds:
        self._ground.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ground.__exit__()

    def hold(self, name: str) -> Round:
        """Play a mutant's play without it, unless that was done for another one, and with it.

        Without it, there is a second chance where the machine may be to blame; with it there is none.
        """
        mutant = MUTANTS[name]
        if mutant.scenario not in self._without:
            self._without[mutant.scenario] = self._play(mutant.scenario)
        without, spoiled = self._without[mutant.scenario]
        return Round(mutant, without, self._ground.play_with(mutant, without), spoiled)

    def _play(self, scenario: str) -> tuple[Trialled, Trialled | None]:
        first = self._ground.play(scenario)
        return (self._ground.play(scenario), first) if _may_be_the_machine(first) else (first, None)


def _may_be_the_machine(without: Trialled) -> bool:
    """Whether it shows what a machine does that stands still for longer than a lease, and nothing else.

    A living attempt is taken back, or a step does not come, and what was to be ended never is.
    """
    return bool(without.missed or "I13" in without.broken) and set(without.broken) <= STANDSTILL


def in_order(names: Iterable[str]) -> list[str]:
    """Those of one play together, those that shake the stack most last."""
    plays = list(PLAYS)
    return sorted(names, key=lambda name: plays.index(MUTANTS[name].scenario))
