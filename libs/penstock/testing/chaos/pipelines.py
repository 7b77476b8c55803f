"""Random pipelines whose jobs write down what they do."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

ENOUGH: Final = "5m"
"""Longer than any outage of a run: what ends a job here is the job, its cancel or its runner's death."""
BODY: Final = """\
LC_ALL=C
file="{runs}/$CI_JOB_ID"
echo "start $CI_ATTEMPT $EPOCHREALTIME" >> "$file"
{alone}me="$CI_JOB_ID:$CI_ATTEMPT"
for ((n = 1; n <= {lines}; n++)); do
  echo "$me:stdout:$n"
  ((n > {errors})) || echo "$me:stderr:$n" >&2
done
{pause}
case " {failing} " in *" $CI_ATTEMPT "*) code=1 ;; *) code=0 ;; esac
echo "end $CI_ATTEMPT $code $EPOCHREALTIME $(({lines} + {errors}))" >> "$file"
exit $code
"""
"""Each line is one write to a file opened for appending: it is there as a whole, or not at all."""
ALONE: Final = """\
exec 9>> "$file"
flock -n 9 || { [ $? = 1 ]; echo "overlap $CI_ATTEMPT $EPOCHREALTIME" >&9; }
sleep 60 > /dev/null 2>&1 &
"""
"""An exclusive run holds a lock on its journal for as long as any process of it lives, be it one that it left
behind: who cannot have the lock is not alone. The kernel says so, and it needs no clock."""
EXCLUSIVE: Final[dict[str, Any]] = {"exclusive": True, "timeout": {"run": ENOUGH, "cancel-grace": "1s"}}
EXCLUSIVE_SHARE: Final = 0.06
"""Of all jobs. Whoever loses one to a dead runner waits for the end of a long lease."""


LOCKED_SHARE: Final = 0.08
"""Of all jobs: they take one or two locks. A dead runner's are free at the end of a long lease, too."""
LOCKS: Final = tuple(f"lock-{n}" for n in range(8))
MATRIX_SHARE: Final = 0.08
GROUPED_SHARE: Final = 0.05
"""Of all pipelines: one of a group runs at a time."""
GROUPS: Final = ("east", "south", "west")


def draw_definition(rng: random.Random, name: str, runs: Path, *, most: int = 12) -> dict[str, Any]:
    """A graph of up to `most` jobs: chains, fans, matrices, conditions, retries, failures; mostly short.

    Some take locks, some share a concurrency group.
    """
    drawn: dict[str, Any] = {}
    for number in range(rng.randint(2, most)):
        needs = rng.sample(sorted(drawn), min(len(drawn), rng.choice((0, 1, 1, 2, 3))))
        job: dict[str, Any] = {"needs": needs, "shell": "bash", "timeout": ENOUGH}
        if needs and rng.random() < 0.15:
            job["if"] = rng.choice(("always()", "failure()"))
        if rng.random() < 0.15:
            job["continue-on-error"] = True
        failing: list[int] = []
        if rng.random() < 0.3:
            job["retry"] = {"max": rng.choice((1, 2))}
            failing = [1] if rng.random() < 0.5 else []
        elif rng.random() < 0.06:
            failing = list(range(1, 21))
        if alone := rng.random() < EXCLUSIVE_SHARE:
            job.update(EXCLUSIVE)
        job["run"] = _body(rng, runs, failing, alone=alone)
        _draw_holds(rng, job)
        drawn[f"j{number}"] = job
    definition: dict[str, Any] = {"name": name, "jobs": drawn}
    if rng.random() < GROUPED_SHARE:
        definition["concurrency"] = rng.choice(
            (
                {"group": rng.choice(GROUPS)},
                {"group": rng.choice(GROUPS), "queue": "latest"},
                {"group": rng.choice(GROUPS), "cancel-in-progress": True},
            )
        )
    return definition


def _draw_holds(rng: random.Random, job: dict[str, Any]) -> None:
    """Locks or a matrix, or neither."""
    chance = rng.random()
    if chance < LOCKED_SHARE:
        names = rng.sample(LOCKS, rng.choice((1, 1, 2)))
        job["locks"] = [{"name": name, "mode": rng.choice(("exclusive", "shared"))} for name in names]
        job["timeout"] = EXCLUSIVE["timeout"]
    elif chance < LOCKED_SHARE + MATRIX_SHARE:
        job["strategy"] = {
            "matrix": {"cell": list(range(rng.choice((2, 3))))},
            "fail-fast": rng.random() < 0.7,
            **({"max-parallel": rng.choice((1, 2))} if rng.random() < 0.5 else {}),
        }


def exclusive_definition(runs: Path, seconds: float) -> dict[str, Any]:
    """One exclusive job, whose first attempt takes so long, and any other is over at once."""
    pause = f"[ $CI_ATTEMPT != 1 ] || sleep {seconds}"
    body = BODY.format(runs=runs, alone=ALONE, lines=3, errors=0, pause=pause, failing="")
    return {"name": "alone", "jobs": {"alone": {"shell": "bash", "run": body, **EXCLUSIVE}}}


def _body(rng: random.Random, runs: Path, failing: list[int], *, alone: bool) -> str:
    seconds = rng.choice((0, 0, 0, 0.05, 0.2, 0.5, 1, 2, 5))
    lines = rng.choice((0, 1, 1, 3, 20, 200))
    errors = min(lines, rng.choice((0, 0, 5)))
    tries = " ".join(map(str, failing))
    return BODY.format(
        runs=runs,
        alone=ALONE if alone else "",
        lines=lines,
        errors=errors,
        pause=f"sleep {seconds}",
        failing=tries,
    )
