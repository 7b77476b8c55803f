"""Rounds: mutants against their plays, each without and with, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.ground import Ground, Trialled
from penstock.testing.chaos.mutants.mutant import Mutant
from penstock.testing.chaos.mutants.plays import PLAYS

MOST_PROBLEMS: Final = 20


class Round(NamedTuple):
    """One mutant, its play without it and with it."""

    mutant: Mutant
    without: Trialled
    mutated: Trialled

    @property
    def found(self) -> list[str]:
        """Of the invariants that it breaks, those that the verdict names."""
        return [name for name in self.mutant.shows if name in self.mutated.broken]

    @property
    def passed(self) -> bool:
        """Nothing is wrong without the mutant, and what it breaks is found."""
        return self.without.verdict.held and not self.without.missed and bool(self.found)

    def explained(self) -> str:
        """What was wrong without it and with it, and the story by which it was found."""
        lines: list[str] = []
        for what, trialled in (("without", self.without), ("with", self.mutated)):
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
        self._without: dict[str, Trialled] = {}

    def __enter__(self) -> Rounds:
        self._ground.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ground.__exit__()

    def hold(self, name: str) -> Round:
        """Play a mutant's play without it, unless that was done for another one, and with it."""
        mutant = MUTANTS[name]
        if mutant.scenario not in self._without:
            self._without[mutant.scenario] = self._ground.play(mutant.scenario)
        without = self._without[mutant.scenario]
        return Round(mutant, without, self._ground.play_with(mutant, without))


def in_order(names: Iterable[str]) -> list[str]:
    """Those of one play together, those that shake the stack most last."""
    plays = list(PLAYS)
    return sorted(names, key=lambda name: plays.index(MUTANTS[name].scenario))
