"""States, reasons, durations and ages as a person reads them. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from penstock.core.states import JOB_STATES


class Look(NamedTuple):
    """How a state is shown."""

    mark: str
    colour: str


LOOKS: Final[Mapping[str, Look]] = {
    "REJECTED": Look("✗", "red"),
    "PENDING": Look("·", "bright_black"),
    "WAITING": Look("?", "magenta"),
    "QUEUED": Look("○", "bright_black"),
    "ASSIGNED": Look("◌", "cyan"),
    "RUNNING": Look("●", "cyan"),
    "RETRYING": Look("↻", "yellow"),
    "CANCELLING": Look("◍", "yellow"),
    "SUCCESS": Look("✓", "green"),
    "FAILED": Look("✗", "red"),
    "CANCELLED": Look("⊘", "yellow"),
    "SKIPPED": Look("−", "bright_black"),
}
UNKNOWN_LOOK: Final = Look("•", "white")
"""Of states that a later gateway may have."""

REASONS: Final[Mapping[str, str]] = {
    "exit-code": "exit code {exit_code}",
    "run-timeout": "ran into its timeout",
    "queue-timeout": "waited too long for a runner",
    "start-timeout": "was not started in time",
    "worker-lost": "its runner was lost",
    "start-refused": "no runner would start it",
    "infra-error": "the runner could not do it",
    "artifact-missing": "an artifact is missing",
    "dependency-failed": "a job that it needs did not succeed",
    "condition-false": "its condition does not hold",
    "cancelled": "cancelled on request",
    "superseded": "a newer one took its place",
    "fail-fast": "another job of its matrix failed",
    "reused": "taken over from an earlier run",
    "request-conflict": "the same key was used for another request",
    "invalid": "the request is not valid",
    "approval-rejected": "its approval was rejected",
    "log-limit": "wrote more than may be kept",
    "quota-exceeded": "over the tenant's quota",
}
_NUMBERS: Final = re.compile(r"([0-9]+)")
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


def look(state: str) -> Look:
    """Mark and colour of a state."""
    return LOOKS.get(state, UNKNOWN_LOOK)


def reason_words(reason: str | None, exit_code: int | None = None) -> str:
    """Why a job is in its state; empty when there is nothing to say."""
    if not reason:
        return ""
    if reason == "signal":
        return _signal_words(exit_code)
    if reason == "exit-code" and exit_code is None:
        return "failed"
    return REASONS.get(reason, reason).format(exit_code=exit_code)


def _signal_words(exit_code: int | None) -> str:
    """Shells and runners report a signal as 128 plus its number."""
    try:
        number = signal.Signals((exit_code or 0) - 128)
    except ValueError:
        return "ended by a signal"
    return f"ended by {number.name}"


def span(seconds: float) -> str:
    """A duration: `0.3 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def ago(seconds: float) -> str:
    """How long ago: `now`, `12 s ago`, `3 min ago`, `2 d ago`; a clock that is ahead of ours says `now`."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago" if seconds >= 1 else "now"


def timestamp(at: str) -> float:
    """RFC 3339 as Unix seconds."""
    return datetime.fromisoformat(at).timestamp()


def clock_time(at: float) -> str:
    """HH:MM:SS where we are."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def counted(counts: Mapping[str, int]) -> str:
    """Jobs by state, in the order of a job's life: `3 SUCCESS, 1 FAILED`."""
    return ", ".join(f"{counts[state]} {state}" for state in _ordered(counts))


def marked(counts: Mapping[str, int]) -> str:
    """The same in few columns: `3 ✓ 1 ✗`."""
    return " ".join(f"{counts[state]} {look(state).mark}" for state in _ordered(counts))


def _ordered(counts: Mapping[str, int]) -> list[str]:
    """States with jobs, in the order of a job's life, unknown ones last."""
    known = [state for state in JOB_STATES if counts.get(state)]
    return known + sorted(state for state in counts if state not in JOB_STATES and counts[state])


def natural(name: str) -> Sequence[tuple[int, str]]:
    """Sorts `test (2)` before `test (10)`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(name)]


def cut(text: str, characters: int) -> str:
    """Text that is no longer than this."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def plural(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
