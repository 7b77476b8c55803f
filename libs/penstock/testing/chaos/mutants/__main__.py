"""`python -m penstock.testing.chaos.mutants [NAME …]`: plant mutants, and see whether they are found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from penstock.core.errors import PenstockError
from penstock.runtime.log import configure
from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.rounds import Round, Rounds, in_order


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0: each of them was found, and nothing was wrong without it."""
    parser = argparse.ArgumentParser(prog="penstock.testing.chaos.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all by default")
    parser.add_argument("--list", action="store_true", help="name them, and what each breaks")
    parser.add_argument("--stories", action="store_true", help="tell how each was found")
    given = parser.parse_args(words)
    if unknown := [name for name in given.names if name not in MUTANTS]:
        parser.error(f"no mutant {', '.join(unknown)}; there are {', '.join(MUTANTS)}")
    if given.list:
        for mutant in MUTANTS.values():
            _say(f"{mutant.name:<26} {'/'.join(mutant.shows):<6} {mutant.scenario:<17} {mutant.breaks}")
        return 0
    configure("console", "error", "mutants", "mutants")
    failed = 0
    try:
        with Rounds() as rounds:
            for name in in_order(given.names or MUTANTS):
                one = rounds.hold(name)
                failed += not one.passed
                _say(_line(one))
                if one.repeated:
                    _say(f"    {one.repeated}")
                if given.stories or not one.passed:
                    _say(one.explained())
    except PenstockError as error:
        print(f"mutants: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 78
    _say(f"{len(given.names or MUTANTS)} mutants, {failed} not found")
    return 1 if failed else 0


def _line(one: Round) -> str:
    outcome = f"found by {', '.join(one.found)}" if one.passed else "NOT AS IT SHOULD BE"
    others = [name for name in one.mutated.broken if name not in one.found]
    seconds = f"{one.without.seconds:4.0f} + {one.mutated.seconds:3.0f} s"
    return f"{one.mutant.name:<26} {outcome:<20} {seconds}  also broken: {' '.join(others) or '-'}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
