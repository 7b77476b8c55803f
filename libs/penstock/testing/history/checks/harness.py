"""I20: the run is worth its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding

EVIDENCE: Final = ("topics", "logs", "peeks", "samples", "replays", "lag")
"""Parts of a history that checks only look through: where they are empty, all would be well."""


def bites(facts: Facts) -> Iterator[Finding]:
    """Faults were made and bit, and all of them are over. One that found nothing to bite is only counted."""
    faults = facts.history.faults or ()
    if not any(fault.bit for fault in faults):
        yield Finding("no fault bit")
    for fault in faults:
        if fault.off is None or fault.off > facts.history.healed_at:
            yield Finding(f"{fault.kind} {fault.target} at {fault.on:.3f} lasted beyond the healing")


def works(facts: Facts) -> Iterator[Finding]:
    """Something was asked for, and some of it ended well."""
    if not any(ask.outcome == "ok" for ask in facts.history.asks):
        yield Finding("nothing was asked for")
    if not any(job["state"] == "SUCCESS" for job in facts.books.jobs):
        yield Finding("no job ended well")


def evidence(facts: Facts) -> Iterator[Finding]:
    """What was to be recorded was: a check of nothing finds nothing."""
    for part in EVIDENCE:
        recorded = getattr(facts.history, part)
        if recorded is not None and not recorded:
            yield Finding(f"no evidence: nothing is in {part}")
    replays = facts.history.replays
    if replays and not any(replay.records for replay in replays):
        yield Finding("no evidence: not one record was told once more")


CHECKS: Final = (
    Check("I20", bites, ("faults",)),
    Check("I20", works, ("faults",)),
    Check("I20", evidence, ("faults",)),
)
