"""What a mutant may change: the statements of the store, and duties that may be left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tests.model.invariants import Act
from tests.model.operations import ACTS


@dataclasses.dataclass(frozen=True)
class Rules:
    """The protocol as it is, unless told otherwise."""

    acts: Mapping[str, Act] = dataclasses.field(default_factory=lambda: dict(ACTS))
    without: frozenset[str] = frozenset()
    """reaper, sweep, queue sweep, relay, retries, resend, memory (of a runner): left out."""
    offset_first: bool = False
    """Offsets are committed before the record is handled."""
    delete_first: bool = False
    """The relay deletes before it produces."""
    blind_grants: bool = False
    """Grants go out whether or not the claim won a row."""
    stale_fan_in: bool = False
    """The end of a job looks at its siblings as they were when its transaction began."""


PROTOCOL = Rules()
