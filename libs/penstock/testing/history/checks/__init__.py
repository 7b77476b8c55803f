"""The checks, by invariant: each yields what is wrong, and nothing when all is well."""

from __future__ import annotations

from typing import Final

from penstock.testing.history.checks import (
    acceptance,
    execution,
    graph,
    harness,
    holding,
    logs,
    machine,
    published,
    rest,
    tenancy,
    time,
)
from penstock.testing.history.checks.check import Check

CHECKS: Final[tuple[Check, ...]] = (
    *acceptance.CHECKS,
    *machine.CHECKS,
    *execution.CHECKS,
    *graph.CHECKS,
    *rest.CHECKS,
    *published.CHECKS,
    *time.CHECKS,
    *logs.CHECKS,
    *tenancy.CHECKS,
    *holding.CHECKS,
    *harness.CHECKS,
)

__all__ = ["CHECKS", "Check"]
