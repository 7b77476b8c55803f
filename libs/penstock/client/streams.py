"""Server-sent events out of lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class ServerSentEvent(NamedTuple):
    """One event; `cursor` is its `id`, by which a reader goes on after it."""

    kind: str
    cursor: str
    data: str


def server_sent_events(lines: Iterable[bytes]) -> Iterator[ServerSentEvent]:
    """The events of a stream given as lines without their ends; one that was cut short is left out."""
    kind, cursor, data = "", "", list[str]()
    for line in lines:
        if not line.strip(b"\r"):
            if data:
                yield ServerSentEvent(kind or "message", cursor, "\n".join(data))
            kind, data = "", []
            continue
        field, _, value = line.decode("utf-8", "replace").rstrip("\r").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                kind = value
            case "id":
                cursor = value
            case "data":
                data.append(value)
            case _:  # a comment (no name) keeps the connection open; other fields mean nothing here
                pass
