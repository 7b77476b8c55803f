"""Stored lines by one cursor, and how a log ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from penstock.logs.frames import decompress, skip_lines
from penstock.objects.ports import Objects
from penstock.store.logs import Chunk, LogState

READ_BYTES: Final = 512 * 1024
"""A chunk is read in spans of about so many bytes: what a slow reader makes its server hold."""

ReadChunks = Callable[[int], Sequence[Chunk]]
"""The chunks that hold a line and those after it, in order: `store.logs.chunks` of one attempt."""


class Piece(NamedTuple):
    """Whole lines as NDJSON; `next_seq` is the number of the line after them: the cursor."""

    next_seq: int
    lines: bytes


class EndOfLog(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The end-of-log record (interface §5): the last line of a whole log as NDJSON.

    `state` is what the attempt ended as. `incomplete`: the rest was given up on; `missing` lines of it, when
    it is known how many there were.
    """

    end: Literal[True]
    last_seq: int
    state: str | None = None
    incomplete: bool = False
    missing: int = 0


def end_of(state: LogState, close_seconds: float) -> EndOfLog | None:
    """How the log of an attempt that ended ends; None while lines or the report of the end may still come.

    A log of which nothing was stored is given up on `close_seconds` after the end of its attempt; one that
    was begun is closed by the `logs` service then.
    """
    if state.ended_seconds is None:
        return None
    if state.closed:
        return closed_end(state)
    if state.closed is None and state.reported_seq == 0:
        return EndOfLog(end=True, last_seq=0, state=state.state)
    if state.closed is None and state.ended_seconds > close_seconds:
        missing = state.reported_seq or 0
        return EndOfLog(end=True, last_seq=0, state=state.state, incomplete=True, missing=missing)
    return None


def closed_end(state: LogState) -> EndOfLog:
    """How a closed log ends, also before its attempt's end is reported."""
    lines, last_seq = state.lines or 0, state.last_seq or 0
    return EndOfLog(
        end=True,
        last_seq=last_seq,
        state=state.state,
        incomplete=lines != state.end_seq,
        missing=max(state.end_seq or 0, last_seq) - lines,
    )


def stored_lines(
    objects: Objects, read_chunks: ReadChunks, from_seq: int, *, over_gaps: bool
) -> Iterator[Piece]:
    """The stored lines from `from_seq` on; every step may block on storage and index.

    Ends where nothing more is stored, or before a gap: the lines in it may still come. `over_gaps`, for
    closed logs, leaves them out instead.

    Raises:
        RetryLater: the object storage or Postgres is away.
        ObjectMissing: the index has a chunk that is not there.
    """
    cursor = from_seq
    while chunks := read_chunks(cursor):
        for chunk in chunks:
            if chunk.first_seq > cursor and not over_gaps:
                return
            yield from _lines_of(objects, chunk, max(cursor, chunk.first_seq))
            cursor = chunk.last_seq + 1


def _lines_of(objects: Objects, chunk: Chunk, cursor: int) -> Iterator[Piece]:
    ends = [*chunk.frames[1:], (chunk.bytes, chunk.last_seq + 1)]
    frames = [
        (begin, first_seq, end, next_seq)
        for (begin, first_seq), (end, next_seq) in zip(chunk.frames, ends, strict=True)
        if next_seq > cursor
    ]
    while frames:
        start = frames[0][0]
        span = [frame for frame in frames if frame[2] - start <= READ_BYTES] or frames[:1]
        data = objects.get(chunk.object_key, (start, span[-1][2]))
        for begin, first_seq, end, next_seq in span:
            lines = decompress(data[begin - start : end - start])
            yield Piece(next_seq, skip_lines(lines, max(0, cursor - first_seq)))
        frames = frames[len(span) :]
