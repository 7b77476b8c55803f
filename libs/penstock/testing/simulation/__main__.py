"""`python -m penstock.testing.simulation SEED`: replay a seed, or run many schedules from it on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from penstock.core.errors import PenstockError
from penstock.runtime.clock import SystemClock
from penstock.testing.servers import servers
from penstock.testing.simulation.many import run_many
from penstock.testing.simulation.plants import PLANTS


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0: every schedule kept what the protocol promises; 1: one did not; 78: no server."""
    parser = argparse.ArgumentParser(prog="penstock.testing.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0, help="the seed, or the first of many")
    parser.add_argument("--schedules", type=int, default=1, help="how many seeds; one is told as a story")
    parser.add_argument("--postgres", default="", help="libpq URL of a server; default: one is started")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="how many at once; default: one a core"
    )
    parser.add_argument("--plant", choices=sorted(PLANTS), help="with this fault planted, until it is found")
    given = parser.parse_args(words)
    try:
        if given.postgres:
            return _run(given, given.postgres)
        with servers() as found:
            return _run(given, found.postgres.postgres_dsn)
    except PenstockError as error:
        print(f"simulation: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 78


def _run(given: argparse.Namespace, dsn: str) -> int:
    clock = SystemClock()
    began = clock.monotonic()
    done = failed = 0
    seeds = range(given.seed, given.seed + given.schedules)
    for outcome in run_many(dsn, seeds, processes=given.processes, plant=given.plant or ""):
        done += 1
        if outcome.problems:
            failed += 1
            print(outcome, flush=True)  # noqa: T201 - a command
            if given.plant:
                break
        elif given.schedules == 1:
            print(outcome)  # noqa: T201 - a command
    seconds = clock.monotonic() - began
    print(  # noqa: T201 - a command
        f"{done} schedules from seed {given.seed} on, {failed} failed; {done / seconds:.1f} a second"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
