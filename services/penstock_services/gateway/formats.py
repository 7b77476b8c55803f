"""The forms in which a log is handed out: NDJSON as it is stored, text as it was printed, or events. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

import msgspec

from penstock_services.gateway.routing import EVENTS, JSON, NDJSON, TEXT
from penstock_services.gateway.sse import event

Format = Callable[[bytes], bytes]
"""Whole lines of NDJSON in another form."""

_CHOICES: Final[dict[str, str]] = {
    NDJSON: NDJSON,
    JSON: NDJSON,
    "application/*": NDJSON,
    "*/*": NDJSON,
    TEXT: TEXT,
    "text/*": TEXT,
    EVENTS: EVENTS,
}


class _Line(msgspec.Struct):
    """A line, or with `end` the end-of-log record. A runner wrote it: nothing in it is certain."""

    seq: int = 0
    text: str = ""
    raw: str | None = None
    part: bool = False
    end: bool = False
    incomplete: bool = False
    missing: int = 0


_decoder: Final = msgspec.json.Decoder(_Line)


def choose(accept: str) -> str | None:
    """The content type for this Accept header; None when none fits."""
    best: tuple[float, str] | None = None
    for wish in (accept or "*/*").split(","):
        name, *parameters = (part.strip() for part in wish.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        chosen = _CHOICES.get(name.lower())
        if chosen is not None and weight > 0 and (best is None or weight > best[0]):
            best = (weight, chosen)
    return best[1] if best else None


def as_ndjson(lines: bytes) -> bytes:
    """As they are."""
    return lines


def as_text(lines: bytes) -> bytes:
    """The bytes that were printed; a log that is incomplete says so in a last line of its own."""
    return b"".join(_text(line) for line in _split(lines))


def as_events(lines: bytes) -> bytes:
    """An event a line, whose id is its number; the end-of-log record is an event `end`."""
    return b"".join(_event(line) for line in _split(lines))


FORMATS: Final[dict[str, Format]] = {NDJSON: as_ndjson, TEXT: as_text, EVENTS: as_events}


def first_lines(lines: bytes, count: int) -> bytes:
    """At most so many lines of these."""
    if lines.count(b"\n") <= count:
        return lines
    return b"".join(line + b"\n" for line in lines.split(b"\n", count)[:count])


def _split(lines: bytes) -> list[bytes]:
    return lines.removesuffix(b"\n").split(b"\n")


def _text(line: bytes) -> bytes:
    try:
        read = _decoder.decode(line)
        printed = read.text.encode() if read.raw is None else base64.b64decode(read.raw)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error):
        return line + b"\n"
    if not read.end:
        return printed if read.part else printed + b"\n"
    if not read.incomplete:
        return b""
    return b"[penstock: this log is incomplete, lines missing: %d]\n" % read.missing


def _event(line: bytes) -> bytes:
    try:
        read = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return event(line)
    return event(line, kind="end") if read.end else event(line, cursor=str(read.seq))
