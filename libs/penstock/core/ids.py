"""UUIDv7 identifiers (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits.

They sort by creation time, so tables partitioned by id range are partitioned by time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final
from uuid import UUID

RandomBytes = Callable[[int], bytes]
"""A source of n random bytes; `os.urandom` in production, seeded in simulation."""

MAX_ID_SKEW_SECONDS: Final = 86_400.0
"""How far a client's own id may be off from its receipt (protocol §1)."""


def uuid7(now: float, random_bytes: RandomBytes = os.urandom) -> str:
    """A new id as 36 lower-case characters; `now` is Unix seconds."""
    value = int(now * 1000) << 80 | int.from_bytes(random_bytes(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid4(random_bytes: RandomBytes = os.urandom) -> str:
    """A random token id (no time in it) as 36 lower-case characters."""
    value = int.from_bytes(random_bytes(16))
    value = value & ~(0xF << 76) | 4 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def id_time(identifier: str) -> float:
    """Unix seconds at which a UUIDv7 was made. Raises `ValueError` if it is not a UUIDv7."""
    parsed = UUID(identifier)
    if parsed.version != 7:
        raise ValueError(f"{identifier!r} is not a UUIDv7")
    return (parsed.int >> 80) / 1000


def is_uuid(identifier: str) -> bool:
    """Whether this is a UUID in its canonical 36-character form."""
    try:
        return str(UUID(identifier)) == identifier
    except ValueError:
        return False
