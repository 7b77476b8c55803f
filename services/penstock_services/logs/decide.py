"""What of a log is needed, what may be stored, and when: pure, the time is an argument.

A range is (first, last) of line numbers, both included; it is empty when last is less than first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from penstock.store.logs import Head
from penstock_services.logs.frames import Frame

Range = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a chunk is cut. Sizes are of the lines before compression."""

    chunk_bytes: int
    chunk_seconds: float
    gap_seconds: float


def without(wanted: Range, taken: Iterable[Range]) -> list[Range]:
    """What of a range is in none of the others, in order; those are sorted and do not overlap."""
    first, last = wanted
    parts: list[Range] = []
    for begin, end in taken:
        if begin > last:
            break
        if end < first:
            continue
        if begin > first:
            parts.append((first, begin - 1))
        first = end + 1
    if first <= last:
        parts.append((first, last))
    return parts


def stored_ranges(head: Head) -> list[Range]:
    """The lines that are stored."""
    return without((1, head.last_seq), head.gaps)


def grown(head: Head, ranges: Sequence[Range], *, end_seq: int | None) -> Head:
    """The head after these lines, none of which it had, were indexed too; they are sorted."""
    last_seq = max(head.last_seq, ranges[-1][1] if ranges else 0)
    holes = [*head.gaps, (head.last_seq + 1, last_seq)]
    gaps = [part for hole in holes for part in without(hole, ranges)]
    lines = last_seq - sum(last - first + 1 for first, last in gaps)
    end_seq = head.end_seq if head.end_seq is not None else end_seq
    return Head(lines, last_seq, end_seq, head.closed or lines == end_seq, gaps)


def storable(
    frames: Sequence[Frame], head: Head, now: float, gap_seconds: float, *, pressed: bool = False
) -> list[Frame]:
    """The frames, sorted, that may be stored now: those that follow on what is stored or fill its gaps.

    What lies behind a gap waits for the missing lines, but not longer than `gap_seconds`, not when the log
    was given up on, and not when memory is short: the index bears gaps, and they can still be filled.
    """
    next_seq = head.last_seq + 1
    for place, frame in enumerate(frames):
        waits = frame.first_seq > next_seq and now - frame.at < gap_seconds
        if waits and not head.closed and not pressed:
            return list(frames[:place])
        next_seq = max(next_seq, frame.last_seq + 1)
    return list(frames)


def grouped(frames: Sequence[Frame], chunk_bytes: int) -> list[list[Frame]]:
    """Frames as chunks: lines that follow on one another, at most so many bytes, at least one frame."""
    groups: list[list[Frame]] = []
    size = 0
    for frame in frames:
        follows = bool(groups) and groups[-1][-1].last_seq + 1 == frame.first_seq
        if not follows or size + frame.raw_bytes > chunk_bytes:
            groups.append([])
            size = 0
        groups[-1].append(frame)
        size += frame.raw_bytes
    return groups


def cut(
    frames: Sequence[Frame], head: Head, end_seq: int | None, limits: Limits, now: float, *, pressed: bool
) -> list[list[Frame]] | None:
    """The chunks to store now, each a list of frames; none of them: only the end is new. None: not yet.

    `frames` are those in memory, sorted; `end_seq` is what the end-of-log record said. A log is cut when it
    has a full chunk, when its oldest frame is old, at its end, and when `pressed`: memory is short.
    """
    ready = storable(frames, head, now, limits.gap_seconds, pressed=pressed)
    groups = grouped(ready, limits.chunk_bytes)
    reached = max(head.last_seq, ready[-1].last_seq if ready else 0)
    if end_seq is not None and reached >= end_seq and (ready or head.end_seq is None):
        return groups
    if not ready:
        return None
    if pressed or now - ready[0].at >= limits.chunk_seconds:
        return groups
    if sum(frame.raw_bytes for frame in ready) >= limits.chunk_bytes:
        return groups[:-1] or groups
    return None


def due_at(frames: Sequence[Frame], head: Head, limits: Limits, now: float) -> float:
    """When to look at these frames again if nothing comes; there is at least one, and none is cut now."""
    ready = storable(frames, head, now, limits.gap_seconds)
    due = [ready[0].at + limits.chunk_seconds] if ready else []
    if len(ready) < len(frames):
        due.append(frames[len(ready)].at + limits.gap_seconds)
    return min(due)
