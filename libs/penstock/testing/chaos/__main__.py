"""`python -m penstock.testing.chaos SEED`: torment a stack, and say what held."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import StopProcess
from penstock.runtime.clock import SystemClock
from penstock.testing.chaos.nemesis import FAULTS, draw_kinds
from penstock.testing.chaos.run import NoVerdict, Plan, Ran, run
from penstock.testing.chaos.tiers import commit, deep
from penstock.testing.history.report import text

HELD: Final = 0
BROKEN: Final = 1
NO_VERDICT: Final = 70
NO_STACK: Final = 78
EXITS: Final = {
    HELD: "every invariant held, and all was done that was planned",
    BROKEN: "an invariant is broken, or the run falls short of what was planned",
    NO_VERDICT: "the harness itself failed: nothing is said of the stack",
    NO_STACK: "the stack did not start",
}


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0: every invariant held, and all was done that was planned; see `EXITS` for the others."""
    parser = argparse.ArgumentParser(
        prog="penstock.testing.chaos",
        description=__doc__,
        epilog="exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXITS.items()),
    )
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--deep", action="store_true", help="as `make verify` does, for most of an hour")
    parser.add_argument("--jobs", type=int, default=100, help="at least so many (with --faults or --kind)")
    parser.add_argument("--faults", type=int, default=0, help="so many faults, of all kinds, by the seed")
    parser.add_argument("--kind", action="append", default=[], choices=sorted(FAULTS), help="these faults")
    parser.add_argument("--keep", type=Path, help="folder for the history; default: a temporary one")
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON object")
    given = parser.parse_args(words)
    path = given.keep or Path(tempfile.mkdtemp(prefix="penstock-history-"))
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    try:
        ran = _run(_plan(given), path)
    except NoVerdict as error:
        said = f"no verdict: the harness itself failed, and what it tormented is not judged\n{error}"
        print(f"chaos: {said}\nwhat could be collected is in {path}", file=sys.stderr)  # noqa: T201 - a command
        return NO_VERDICT
    except StopProcess as error:
        print(f"chaos: {error}", file=sys.stderr)  # noqa: T201 - a command
        return NO_STACK
    print(_json(ran) if given.json else _text(ran))  # noqa: T201 - a command
    return HELD if ran.held else BROKEN


def _plan(given: argparse.Namespace) -> Plan:
    if given.faults or given.kind:
        kinds = given.kind or draw_kinds(random.Random(given.seed), given.faults)
        return Plan(given.seed, given.jobs, kinds)
    return deep(given.seed) if given.deep else commit(given.seed)


def _json(ran: Ran) -> str:
    return msgspec.json.encode({**ran.verdict.as_json(), "held": ran.held, "short": ran.short}).decode()


def _text(ran: Ran) -> str:
    lines = [text(ran.verdict, color=sys.stdout.isatty())]
    lines += [str(one) for one in ran.measures if one.least]
    lines += [f"the run falls short: {what}" for what in ran.short]
    return "\n".join(lines)


def _run(plan: Plan, path: Path) -> Ran:
    began = SystemClock().monotonic()

    def tell(text: str) -> None:
        seconds = SystemClock().monotonic() - began
        print(f"{seconds:7.1f} {text}", file=sys.stderr, flush=True)  # noqa: T201 - a command

    tell(f"seed {plan.seed}: {plan.jobs} jobs, {len(plan.kinds)} faults; history in {path}")
    return run(plan, path, tell)


if __name__ == "__main__":
    sys.exit(main())
