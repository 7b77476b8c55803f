"""Log frames as runners make them, for tests of what reads them."""

from __future__ import annotations

import msgspec
import zstandard

from penstock.events import topics
from penstock.events.logs import FrameHead, Line, frame_headers
from penstock.kafka.records import Outgoing, Record

FIRST_TS = 1_700_000_000_000
SESSION = "01890000-0000-7000-8000-0000000000aa"


def log_line(seq: int, text: str = "") -> bytes:
    """Line `seq` of a log whose content follows from its number, with its newline."""
    line = Line(seq, FIRST_TS + seq, "stderr" if seq % 5 == 0 else "stdout", text or f"line {seq}")
    return msgspec.json.encode(line) + b"\n"


def log_lines(first_seq: int, last_seq: int) -> bytes:
    """These lines as NDJSON."""
    return b"".join(log_line(seq) for seq in range(first_seq, last_seq + 1))


def frame(
    job_id: str,
    first_seq: int,
    last_seq: int,
    *,
    attempt: int = 1,
    end: bool = False,
    session_id: str = SESSION,
    lines: bytes | None = None,
) -> Outgoing:
    """A frame of these lines; `lines` replaces what they would be."""
    raw = log_lines(first_seq, last_seq) if lines is None else lines
    head = FrameHead(
        tenant="default",
        job_id=job_id,
        attempt=attempt,
        session_id=session_id,
        first_seq=first_seq,
        lines=last_seq - first_seq + 1,
        raw_bytes=len(raw),
        first_ts=FIRST_TS + first_seq,
        last_ts=FIRST_TS + max(first_seq, last_seq),
        end=end,
    )
    return Outgoing(
        topics.LOGS_FRAMES.name, job_id, zstandard.ZstdCompressor(level=1).compress(raw), frame_headers(head)
    )


def as_read(outgoing: Outgoing, offset: int, partition: int = 0) -> Record:
    """The frame as a consumer reads it."""
    key = outgoing.key.encode() if isinstance(outgoing.key, str) else outgoing.key
    return Record(
        outgoing.topic, partition, offset, key, outgoing.value, [*outgoing.headers], FIRST_TS + offset
    )
