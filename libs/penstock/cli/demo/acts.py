"""What the demo plays, and how each act is expected to end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, NamedTuple

from penstock.cli.view import PipelineView
from penstock.cli.words import reason_words


class End(NamedTuple):
    """How a job is expected to end."""

    state: str
    reason: str | None = None
    exit_code: int | None = None
    attempts: int = 1


@dataclasses.dataclass(frozen=True)
class Act:
    """One pipeline. `cancel_at`: it is cancelled once so many processes have told their numbers."""

    title: str
    moral: str
    file: str
    state: str
    jobs: Mapping[str, End]
    cancel_at: int = 0

    def faults(self, view: PipelineView) -> list[str]:
        """How the pipeline's end differs from what is expected."""
        found: list[str] = []
        if view.state != self.state:
            found.append(f"it ended {view.state}, expected {self.state}")
        names = {job.name: job for job in view.jobs.values()}
        if set(names) != set(self.jobs):
            found.append(f"its jobs are {', '.join(sorted(names))}, expected {', '.join(sorted(self.jobs))}")
        for name, end in self.jobs.items():
            job = names.get(name)
            if job is None:
                continue
            real = End(
                job.state, job.reason, job.exit_code if end.exit_code is not None else None, job.attempt
            )
            if real != end:
                found.append(f"{name} ended as {_words(real)}, expected {_words(end)}")
        return found


def _words(end: End) -> str:
    reason = reason_words(end.reason, end.exit_code)
    return f"{end.state}{f' ({reason})' if reason else ''} after {end.attempts} attempts"


_GOOD: Final = End("SUCCESS")
_SKIPPED: Final = End("SKIPPED", "dependency-failed", attempts=0)

ACTS: Final = (
    Act(
        title="1. Fan-out and fan-in: one job, six shards side by side, a package, a report",
        moral="nine jobs of real work, and no line of their logs is missing",
        file="fan_out.yml",
        state="SUCCESS",
        jobs={
            "lint": _GOOD,
            **{f"test ({shard}/6)": _GOOD for shard in range(1, 7)},
            "package": _GOOD,
            "report": _GOOD,
        },
    ),
    Act(
        title="2. Failure: a second try that works, a job that fails, those that are skipped, one that cares",
        moral="the failure has its reason and its log, nothing behind it ran but what asked for failures",
        file="failure.yml",
        state="FAILED",
        jobs={
            "download": _GOOD._replace(attempts=2),
            "integration": End("FAILED", "exit-code", 1),
            "deploy": _SKIPPED,
            "announce": _SKIPPED,
            "alarm": _GOOD,
        },
    ),
    Act(
        title="3. Cancellation in flight: a job that ignores SIGTERM, with a child in another session",
        moral="both processes were dead before the job was CANCELLED",
        file="cancellation.yml",
        state="CANCELLED",
        jobs={
            "stubborn": End("CANCELLED", "cancelled"),
            "afterwards": End("CANCELLED", "cancelled", attempts=0),
        },
        cancel_at=2,
    ),
)
