"""The digest under which equal requests are recognised (protocol §1)."""

from __future__ import annotations

import hashlib

import orjson

from penstock.core.errors import Problem, RejectInput


def digest(obj: object) -> bytes:
    """SHA-256 of canonical JSON: keys sorted, no blanks, text as it came (no NFC): 32 bytes.

    Raises:
        RejectInput: it is not JSON (a lone surrogate, an integer over 64 bits, nested too deep).
    """
    try:
        return hashlib.sha256(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)).digest()
    except TypeError as error:  # orjson.JSONEncodeError is a TypeError
        raise RejectInput(Problem(f"this is not JSON: {error}")) from None
