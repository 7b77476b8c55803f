"""I20: the run is worth its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.testing.history.checks.check import Check
from penstock.testing.history.facts import Facts, Finding


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


CHECKS: Final = (
    Check("I20", bites, ("faults",)),
    Check("I20", works, ("faults",)),
)
