"""`python -m tests.verify SEED`: in full what `make test` does in part, and how long it took (`make verify`).

Two lanes, side by side: what lives by the real clock, one part after the other; and beside it, at the lowest
priority, what has a clock of its own and so cannot tell whether it is slow. All parts are done, whatever
becomes of the others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
OUTAGES: Final = "tests/chaos/test_outages.py"
POINTS: Final = "tests/integration/testing/test_crash_points.py"
ALL: Final = {"PENSTOCK_CRASH_POINTS": "all", "PENSTOCK_OUTAGES": "all"}
LOWEST: Final = ("nice", "-n", "19")
SCHEDULES: Final = 20_000
UNTOLD: Final = -1
"""The code of a part that nobody knows the end of: its lane ended by an error."""


class Part(NamedTuple):
    """A command of its own; `words` are for the Python that runs this."""

    name: str
    words: tuple[str, ...]
    environ: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


class Done(NamedTuple):
    """What became of a part."""

    name: str
    code: int
    seconds: float

    def __str__(self) -> str:
        outcome = "passed" if self.code == 0 else f"FAILED ({self.code})"
        return f"{self.name:<34} {self.seconds / 60:5.1f} min  {outcome}"


def by_the_real_clock(seed: int) -> list[Part]:
    """Stacks of real processes."""
    return [
        Part("all outages, all points", ("-m", "pytest", OUTAGES, POINTS), ALL),
        Part("all mutants", ("-m", "penstock.testing.chaos.mutants")),
        Part("deep run under faults", ("-m", "penstock.testing.chaos", str(seed), "--deep")),
    ]


def by_their_own(seed: int) -> list[Part]:
    """What takes processor time alone."""
    simulation = ("-m", "penstock.testing.simulation", str(seed), "--schedules", str(SCHEDULES))
    return [
        Part("deep model", ("-m", "tests.model", "--deep", "--walks", "5000", "--seed", str(seed))),
        Part(f"{SCHEDULES:,} simulated schedules", simulation),
    ]


def verify(real: Sequence[Part], beside: Sequence[Part]) -> list[Done]:
    """Do all of them; what those beside print comes in one piece, at the end of each."""
    done: list[Done] = []
    lane = threading.Thread(target=lambda: done.extend(_beside(part) for part in beside), daemon=True)
    lane.start()
    first = [_do(part) for part in real]
    lane.join()
    told = {one.name for one in done}
    untold = [Done(part.name, UNTOLD, 0.0) for part in beside if part.name not in told]
    return [*first, *done, *untold]


def _do(part: Part) -> Done:
    print(f"== {part.name}", flush=True)
    began = time.monotonic()
    with subprocess.Popen([sys.executable, *part.words], cwd=ROOT, env=_environ(part)) as process:
        code = process.wait()  # Ctrl-C reaches it, too: it puts its stack away
    return _told(Done(part.name, code, time.monotonic() - began))


def _beside(part: Part) -> Done:
    began = time.monotonic()
    command = [*LOWEST, sys.executable, *part.words]
    ended = subprocess.run(
        command, cwd=ROOT, env=_environ(part), check=False, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(f"== {part.name} (beside)\n{ended.stdout}", end="", flush=True)
    return _told(Done(part.name, ended.returncode, time.monotonic() - began))


def _told(done: Done) -> Done:
    print(f"== {done}", flush=True)
    return done


def _environ(part: Part) -> dict[str, str]:
    return {**os.environ, **part.environ}


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0: every part passed."""
    parser = argparse.ArgumentParser(prog="tests.verify", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=1000)
    seed = parser.parse_args(words).seed
    began = time.monotonic()
    done = verify(by_the_real_clock(seed), by_their_own(seed))
    failed = [one for one in done if one.code]
    print("", *done, sep="\n")
    minutes = (time.monotonic() - began) / 60
    print(f"seed {seed}: {len(failed) or 'none'} of {len(done)} parts failed, after {minutes:.1f} min")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
