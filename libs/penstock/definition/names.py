"""Names of jobs: any Unicode text without control characters, unique after NFC (interface §6)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from penstock.definition.limits import MAX_JOB_NAME_BYTES

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def normalize(name: str) -> str:
    """The form by which two names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def too_long(text: str, limit: int) -> bool:
    """Whether text has more than this many bytes of UTF-8."""
    return len(text) > limit or (len(text) * 4 > limit and len(text.encode()) > limit)


def fault_in(name: str, limit: int = MAX_JOB_NAME_BYTES) -> str:
    """What is wrong with a name; empty when nothing is."""
    if name.isascii() and name.isprintable() and 0 < len(name) <= limit:
        return ""  # what most names are, found out fast
    if not name:
        return "a name is not empty"
    if too_long(name, limit):
        return f"a name has at most {limit:,} bytes"
    control = CONTROL.search(name)
    if control is not None:
        return f"a name has no control characters, this has U+{ord(control[0]):04X}"
    return ""
