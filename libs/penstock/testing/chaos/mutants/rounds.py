"""Rounds: mutants against their plays, each without and with, and what is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.runtime.clock import rfc3339
from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.ground import Ground, Trialled
from penstock.testing.chaos.mutants.mutant import Mutant
from penstock.testing.chaos.mutants.plays import PLAYS

MOST_PROBLEMS = 20


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
        """Why it did not pass, or how it was found."""
        lines: list[str] = []
        for what, trialled in (("without", self.without), ("with", self.mutated)):
            problems = trialled.verdict.problems[:MOST_PROBLEMS]
            lines.append(
                f"{what} {self.mutant.name}, {trialled.seconds:.0f} s: {len(problems) or 'no'} problems"
            )
            lines += [f"    did not come: {trialled.missed}"] if trialled.missed else []
            lines += [f"    {problem}" for problem in problems]
            if what == "with" and self.found:
                lines += [f"    {line}" for line in trialled.verdict.of(self.found[0]).story]
        return "\n".join(lines)


def rounds(names: Sequence[str]) -> Iterator[Round]:
    """Each of these mutants on one stack, those that shake it most last; a play without a mutant once."""
    order = list(PLAYS)
    chosen = sorted((MUTANTS[name] for name in names), key=lambda one: order.index(one.scenario))
    without: dict[str, Trialled] = {}
    with Ground() as ground:
        for mutant in chosen:
            if mutant.scenario not in without:
                without[mutant.scenario] = ground.play(mutant.scenario)
            yield Round(mutant, without[mutant.scenario], ground.play(mutant.scenario, mutant))


def turn(commit: str, now: float) -> str:
    """Whose turn it is: by the commit, or without one by the day."""
    names = sorted(MUTANTS)
    digest = hashlib.sha256((commit or rfc3339(now)[:10]).encode()).digest()
    return names[int.from_bytes(digest[:8]) % len(names)]
