"""Cursors: where to go on, opaque to clients."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import is_uuid

_AT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z")


def page_cursor(created_at: str, pipeline_id: str) -> str:
    """The cursor behind this pipeline in a list, newest first."""
    return _encode(f"{created_at} {pipeline_id}")


def read_page_cursor(cursor: str) -> tuple[str, str]:
    """Time and id of the last pipeline that is known. Raises RejectInput."""
    at, _, pipeline_id = _decode(cursor).partition(" ")
    if not _AT.fullmatch(at) or not is_uuid(pipeline_id):
        raise RejectInput(
            Problem("this is not a cursor", "cursor", hint="take next_cursor of the page before")
        )
    return at, pipeline_id


def event_cursor(at: str) -> str:
    """The cursor behind all events up to this time."""
    return _encode(at)


def read_event_cursor(cursor: str) -> str:
    """The time of a Last-Event-ID; empty for one that is not ours: then all events come again."""
    at = _decode(cursor)
    return at if _AT.fullmatch(at) else ""


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decode(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
