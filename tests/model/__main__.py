"""`python -m tests.model`: the worlds of every test run; `--deep`: larger ones, too; `--walks N --seed S`."""

from __future__ import annotations

import argparse
import random
import sys

from tests.model.search import Result, search, walk
from tests.model.world import World
from tests.model.worlds import DEEP, WALKED, WORLDS


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    options.add_argument("--deep", action="store_true", help="search the large worlds, too (minutes)")
    options.add_argument("--walks", type=int, default=200, help="walks at random through a larger world")
    options.add_argument("--seed", type=int, help="of the first walk; the next ones count up")
    chosen = options.parse_args()
    found = False
    for shape in [*WORLDS, *DEEP] if chosen.deep else WORLDS:
        result = search(World(shape))
        found |= _print(
            f"{shape.name}: {result.states} states, {result.moves} moves, {result.seconds:.1f} s", result
        )
    seed = random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed
    world, steps = World(WALKED), 0
    print(f"{chosen.walks} walks from seed {seed}: {WALKED.name}")
    for number in range(chosen.walks):
        result = walk(world, seed + number)
        steps += result.moves
        if result.story:
            found |= _print(f"seed {seed + number} (again: --walks 1 --seed {seed + number})", result)
    print(f"{steps} steps; {'an invariant does not hold' if found else 'all invariants hold'}")
    return int(found)


def _print(headline: str, result: Result) -> bool:
    print(headline, flush=True)
    for number, line in enumerate(result.story):
        print(f"  {number:3} {line}")
    return bool(result.story)


if __name__ == "__main__":
    sys.exit(main())
