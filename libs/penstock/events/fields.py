"""Types of fields that many records share: what a service may pass on without looking at it again."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

ID_PATTERN: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Id = Annotated[str, msgspec.Meta(pattern=ID_PATTERN, max_length=36)]
"""A UUID in its one canonical spelling: two spellings of one id would be two keys, and one in Postgres."""
Attempt = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""Number of a claim."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Heartbeats, log lines, milliseconds: what also JavaScript counts exactly."""
Slots = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
"""Attempts that a runner takes at once."""
