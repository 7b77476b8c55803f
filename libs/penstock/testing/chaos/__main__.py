"""`python -m penstock.testing.chaos SEED`: torment a stack, and say what held."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from penstock.core.errors import StopProcess
from penstock.runtime.clock import SystemClock
from penstock.testing.chaos.nemesis import FAULTS, draw_kinds
from penstock.testing.chaos.run import Plan, run
from penstock.testing.chaos.tiers import commit, deep
from penstock.testing.history import Verdict
from penstock.testing.history.report import text


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0: every invariant held."""
    parser = argparse.ArgumentParser(prog="penstock.testing.chaos", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--deep", action="store_true", help="as `make verify` does, for most of an hour")
    parser.add_argument("--jobs", type=int, default=100, help="at least so many (with --faults or --kind)")
    parser.add_argument("--faults", type=int, default=0, help="so many faults, of all kinds, by the seed")
    parser.add_argument("--kind", action="append", default=[], choices=sorted(FAULTS), help="these faults")
    parser.add_argument("--keep", type=Path, help="folder for the history; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON object")
    given = parser.parse_args(words)
    try:
        made = _run(given)
    except StopProcess as error:
        print(f"chaos: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 78
    if given.json:
        print(msgspec.json.encode(made.as_json()).decode())  # noqa: T201 - a command
    else:
        print(text(made, color=sys.stdout.isatty()))  # noqa: T201 - a command
    return 0 if made.held else 1


def _run(given: argparse.Namespace) -> Verdict:
    if given.faults or given.kind:
        kinds = given.kind or draw_kinds(random.Random(given.seed), given.faults)
        plan = Plan(given.seed, given.jobs, kinds)
    else:
        plan = deep(given.seed) if given.deep else commit(given.seed)
    path = given.keep or Path(tempfile.mkdtemp(prefix="penstock-history-"))
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    began = SystemClock().monotonic()

    def tell(text: str) -> None:
        seconds = SystemClock().monotonic() - began
        print(f"{seconds:7.1f} {text}", file=sys.stderr, flush=True)  # noqa: T201 - a command

    tell(f"seed {plan.seed}: {plan.jobs} jobs, {len(plan.kinds)} faults; history in {path}")
    return run(plan, path, tell)


if __name__ == "__main__":
    sys.exit(main())
