"""Log frames: lines of one attempt, compressed, with what the aggregator needs in headers (design §8).

The value is one independent zstd frame of NDJSON lines {seq, ts, stream, text, raw?, part?}; frames of an
attempt put end to end are again valid zstd NDJSON, which is what a stored chunk is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from penstock.core.errors import DeadLetter
from penstock.events.envelope import Headers, header

FRAME_TYPE: Final = "dev.penstock.log.frame.v1"

MAX_FRAME_RAW_BYTES: Final = 2 * 1024 * 1024
"""Most that a frame may decompress to; a line is at most 1 MiB of text, then it is split."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `ts` is Unix milliseconds; `raw` is base64 of the bytes when they are not UTF-8;
    `part` is true when no newline follows (a split line, or output that ended without one).
    """

    seq: int
    ts: int
    stream: Literal["stdout", "stderr"]
    text: str
    raw: str | None = None
    part: bool = False


class FrameHead(msgspec.Struct, frozen=True):
    """The headers of a frame. `lines` 0 with `end` true is the end-of-log record: no line follows
    `first_seq - 1`. `raw_bytes` is the size before compression; times are those of first and last line.
    """

    tenant: str
    job_id: str
    attempt: int
    session_id: str
    first_seq: int
    lines: int
    raw_bytes: int
    first_ts: int
    last_ts: int
    end: bool = False

    @property
    def last_seq(self) -> int:
        """Number of the frame's last line; `first_seq - 1` when it has none."""
        return self.first_seq + self.lines - 1


def frame_headers(head: FrameHead) -> Headers:
    """The Kafka headers that carry a frame's head."""
    return [(f"penstock-{name}", str(value).encode()) for name, value in msgspec.structs.asdict(head).items()]


def frame_head(headers: Sequence[tuple[str, bytes | None]] | None) -> FrameHead:
    """Read a frame's head back. Raises `DeadLetter` when a header is missing or senseless."""
    texts = {name: header(headers, f"penstock-{name}") for name in FrameHead.__struct_fields__}
    try:
        head = FrameHead(
            tenant=texts["tenant"],
            job_id=texts["job_id"],
            attempt=int(texts["attempt"]),
            session_id=texts["session_id"],
            first_seq=int(texts["first_seq"]),
            lines=int(texts["lines"]),
            raw_bytes=int(texts["raw_bytes"]),
            first_ts=int(texts["first_ts"]),
            last_ts=int(texts["last_ts"]),
            end=texts["end"] == "True",
        )
    except ValueError as error:
        raise DeadLetter(f"log frame: bad headers: {error}") from error
    if not head.job_id or head.attempt < 1 or head.first_seq < 1 or head.lines < 0:
        raise DeadLetter(f"log frame: senseless headers: {head}")
    if head.raw_bytes > MAX_FRAME_RAW_BYTES:
        raise DeadLetter(f"log frame of {head.raw_bytes} bytes is over the limit of {MAX_FRAME_RAW_BYTES}")
    return head


line_decoder: Final = msgspec.json.Decoder(Line)
