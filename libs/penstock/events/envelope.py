"""The envelope of a record: CloudEvents 1.0 in Kafka binary mode, plus W3C `traceparent`.

Headers are a list of (name, bytes). Writers always send them; readers never need them: a plain producer
that sends only key and value is welcome (interface §3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Headers = list[tuple[str, bytes]]

SOURCE: Final = b"/penstock"
_FIXED: Final[Headers] = [("ce_specversion", b"1.0"), ("content-type", b"application/json")]


def envelope(event_type: str, event_id: str, at: str, *, traceparent: str, source: bytes = SOURCE) -> Headers:
    """The headers of one record.

    `event_type` is e.g. `dev.penstock.job.status.v1`; `event_id` is unique for this source, and the same
    when the same fact is published again; `at` is RFC 3339, or empty where a record has no time of its own;
    `traceparent` is made by the function of that name, or the client's own.
    """
    headers = [
        *_FIXED,
        ("ce_type", event_type.encode()),
        ("ce_source", source),
        ("ce_id", event_id.encode()),
        ("traceparent", traceparent.encode()),
    ]
    if at:
        headers.append(("ce_time", at.encode()))
    return headers


def traceparent(whole: str, part: str = "") -> str:
    """W3C trace context: a pipeline is one trace, its id the trace's; a job's id names the span.

    What belongs to no pipeline (a heartbeat) is traced by its worker session.
    """
    span = (part or whole).replace("-", "")[16:]
    return f"00-{whole.replace('-', '')}-{span}-01"


def header(headers: Iterable[tuple[str, bytes | None]] | None, name: str) -> str:
    """The text of the first header of that name; empty when absent or not UTF-8."""
    for key, value in headers or ():
        if key == name and value is not None:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return ""
    return ""
