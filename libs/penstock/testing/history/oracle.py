"""What a pipeline comes to, evaluated purely from its definition and how its jobs' attempts ended.

Written from the rules in words (protocol §5), not from the code that it checks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Fate = Literal["runs", "dependency-failed", "condition-false"]
Ends = Mapping[str, tuple[str, str | None]]
"""Job name -> (terminal state, reason)."""


def expanded(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The jobs of a definition by name: of one with a matrix its cells, which all that need it need.

    For axes alone; nothing here draws `include` or `exclude`.
    """
    cells = {key: _cells(key, job) for key, job in definition["jobs"].items()}
    return {
        name: {**job, "needs": [cell for need in job.get("needs", ()) for cell in cells[need]]}
        for key, job in definition["jobs"].items()
        for name in cells[key]
    }


def _cells(key: str, job: Mapping[str, Any]) -> list[str]:
    axes = job.get("strategy", {}).get("matrix", {})
    if not axes:
        return [key]
    return [f"{key} ({', '.join(map(str, values))})" for values in itertools.product(*axes.values())]


def fate(job: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]], ends: Ends) -> Fate:
    """What becomes of a job that nobody cancels, once all its needs have ended like this."""
    failed = cancelled = passed_over = False
    for need in job.get("needs", ()):
        state, reason = ends[need]
        if state == "FAILED" and not jobs[need].get("continue-on-error", False):
            failed = True
        elif state == "CANCELLED":
            cancelled = True
        elif state == "SKIPPED" and reason == "dependency-failed":
            failed = True
        elif state == "SKIPPED":
            passed_over = True
    condition = job.get("if", "success()")
    if condition == "always()":
        return "runs"
    if condition == "failure()":
        return "runs" if failed else "condition-false"
    if failed or cancelled:
        return "dependency-failed"
    return "condition-false" if passed_over else "runs"


def pipeline_state(jobs: Mapping[str, Mapping[str, Any]], ends: Ends, *, cancelled: bool) -> str:
    """The pipeline's own end; `cancelled`: it was CANCELLING."""
    if cancelled:
        return "CANCELLED"
    states = [(state, jobs[name].get("continue-on-error", False)) for name, (state, _) in ends.items()]
    if ("FAILED", False) in states:
        return "FAILED"
    return "CANCELLED" if any(state == "CANCELLED" for state, _ in states) else "SUCCESS"


def chain(records: Iterable[tuple[int, str | None, str]], legal: Mapping[Any, frozenset[Any]]) -> str:
    """What is wrong with a history of (version, previous, state), sorted; empty when nothing is."""
    before: str | None = None
    for number, (version, previous, state) in enumerate(records, 1):
        if version != number:
            return f"version {number} is {version}"
        if previous != before:
            return f"version {version} comes from {previous}, the state was {before}"
        if state not in legal[before]:
            return f"version {version} goes from {before} to {state}"
        before = state
    return "" if before is not None and not legal[before] else f"ends in {before}"
