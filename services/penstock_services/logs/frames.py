"""Log frames as they are taken from the topic: checked, cut down to what is needed, packed into chunks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.core.errors import DeadLetter
from penstock.core.ids import id_time, is_uuid
from penstock.events.logs import FrameHead, frame_head, line_decoder
from penstock.kafka.records import Record
from penstock.logs.frames import PACKED_BYTES, compress, decompress, decompress_untrusted

FRAME_OVERHEAD: Final = 600
"""Bytes of memory that a frame takes beside its data."""
MAX_SEQ: Final = 2**53
"""Beyond it a JSON number is no longer exact for every client."""

_TENANT: Final = re.compile(r"[a-z0-9-]{1,63}")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Lines `first_seq` to `last_seq` of an attempt; `data` is one zstd frame of them.

    `raw_bytes` is their size; times are Unix milliseconds of the first and last line; `at` is when the frame
    came, by the monotonic clock.
    """

    job_id: str
    attempt: int
    tenant: str
    session_id: str
    first_seq: int
    last_seq: int
    raw_bytes: int
    first_ts: int
    last_ts: int
    end: bool
    data: bytes
    partition: int
    offset: int
    at: float

    @property
    def key(self) -> tuple[str, int]:
        """The attempt."""
        return self.job_id, self.attempt

    @property
    def size(self) -> int:
        """About what it takes of memory."""
        return len(self.data) + FRAME_OVERHEAD

    def lines(self) -> bytes:
        """Its NDJSON."""
        return decompress(self.data) if self.data else b""


def read_frame(record: Record, at: float) -> Frame:
    """The frame in a record, its headers checked against what it holds.

    Raises:
        DeadLetter: they differ, or make no sense.
    """
    head = frame_head(record.headers)
    _check(head, record.key)
    data = b""
    if head.lines:
        data = record.value or b""
        _check_lines(head, decompress_untrusted(data, head.raw_bytes))
    return Frame(
        head.job_id, head.attempt, head.tenant, head.session_id, head.first_seq, head.last_seq,
        head.raw_bytes, head.first_ts, head.last_ts, head.end, data, record.partition, record.offset, at,
    )  # fmt: skip


def part_of(frame: Frame, first_seq: int, last_seq: int) -> Frame:
    """These lines of a frame as a frame of their own; at the same place in the topic."""
    if (first_seq, last_seq) == (frame.first_seq, frame.last_seq):
        return frame
    kept = frame.lines().split(b"\n")[first_seq - frame.first_seq : last_seq - frame.first_seq + 1]
    lines = b"".join(line + b"\n" for line in kept)
    return dataclasses.replace(
        frame, first_seq=first_seq, last_seq=last_seq, raw_bytes=len(lines), data=compress(lines)
    )


def pack(frames: Sequence[Frame]) -> tuple[bytes, list[tuple[int, int]]]:
    """Frames end to end, and the byte offset and first line of each.

    A runner sends a frame for every few lines; small neighbours become one, which takes far less room.
    """
    parts: list[bytes] = []
    places: list[tuple[int, int]] = []
    offset = 0
    for group in _neighbours(frames):
        data = group[0].data if len(group) == 1 else compress(b"".join(frame.lines() for frame in group))
        places.append((offset, group[0].first_seq))
        parts.append(data)
        offset += len(data)
    return b"".join(parts), places


def _neighbours(frames: Sequence[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    size = 0
    for frame in frames:
        if not groups or size + frame.raw_bytes > PACKED_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(frame)
        size += frame.raw_bytes
    return groups


def _check(head: FrameHead, key: bytes | None) -> None:
    if not is_uuid(head.job_id):
        raise DeadLetter(f"log frame: {head.job_id!r} is not a job id")
    try:
        id_time(head.job_id)
    except ValueError as error:
        raise DeadLetter(f"log frame: {error}") from error
    if key != head.job_id.encode():
        raise DeadLetter(f"log frame: its key is {key!r}, not its job {head.job_id}")
    if not _TENANT.fullmatch(head.tenant):
        raise DeadLetter(f"log frame: {head.tenant!r} is not a tenant")
    if head.attempt >= 2**31 or head.last_seq > MAX_SEQ or not _are_times(head):
        raise DeadLetter(f"log frame: numbers out of range: {head}")
    if head.lines == 0 and not head.end:
        raise DeadLetter("log frame: it has no lines and is no end")


def _are_times(head: FrameHead) -> bool:
    return 0 <= head.first_ts <= head.last_ts < MAX_SEQ


def _check_lines(head: FrameHead, lines: bytes) -> None:
    count = lines.count(b"\n")
    if count != head.lines or not lines.endswith(b"\n"):
        raise DeadLetter(f"log frame: it says {head.lines} lines and has {count} newlines")
    first = lines[: lines.index(b"\n")]
    last = lines[lines.rfind(b"\n", 0, -1) + 1 :]
    for text, seq in ((first, head.first_seq), (last, head.last_seq)):
        try:
            line = line_decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DeadLetter(f"log frame: line {seq} is not a line: {error}") from error
        if line.seq != seq:
            raise DeadLetter(f"log frame: line {line.seq} where its headers say {seq}")
