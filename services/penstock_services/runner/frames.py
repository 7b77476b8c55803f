"""From bytes to frames: lines are found in a stream, numbered over both streams, and packed. Pure.

What a line is depends on the bytes alone, never on how they came in chunks: it ends at a newline and at
nothing else, and a line of more than `MAX_LINE_BYTES` is cut, at a character's boundary where there is one.
"""

from __future__ import annotations

import base64
from typing import Final, Literal

import msgspec
import zstandard

from penstock.events.logs import MAX_FRAME_RAW_BYTES, Line

MAX_LINE_BYTES: Final = 1024 * 1024
FRAME_BYTES: Final = 64 * 1024
"""A frame is cut when it holds about so much NDJSON."""
LINE_OVERHEAD: Final = 56
"""About what number, time, stream and JSON's own signs add to the text of a line."""
SMALL_LINE_BYTES: Final = 256 * 1024
"""A line up to this size fits into a frame, however much escaping blows it up (7.4 times at most)."""
ROOM_BYTES: Final = 1024
"""For the other fields of a line that fills a frame alone."""
ZSTD_LEVEL: Final = 1

Stream = Literal["stdout", "stderr"]
Piece = str | tuple[bytes, bool]
"""A whole line that is good UTF-8, or the bytes of one that is not or was cut, and whether it was cut."""

_encoder: Final = msgspec.json.Encoder()
_compressor: Final = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)


def compress(raw: bytes) -> bytes:
    """One independent zstd frame with the content's size in its header."""
    return _compressor.compress(raw)


class LineSplitter:
    """Finds the lines of one stream."""

    def __init__(self) -> None:
        self._open = bytearray()
        """The beginning of a line whose newline has not come; never more than `MAX_LINE_BYTES`."""

    def feed(self, data: bytes) -> list[Piece]:
        """Take the next bytes; the lines that they complete."""
        newline = data.rfind(b"\n")
        if newline < 0:
            self._open += data
            return [*self._cut_open()]
        block = bytes(self._open) + data[:newline] if self._open else data[:newline]
        self._open = bytearray(data[newline + 1 :])
        pieces: list[Piece]
        if len(block) <= MAX_LINE_BYTES:
            try:
                pieces = [*block.decode().split("\n")]
            except UnicodeDecodeError:
                pieces = [_piece(line) for line in block.split(b"\n")]
        else:
            pieces = []
            for line in block.split(b"\n"):
                rest = line
                while len(rest) > MAX_LINE_BYTES:
                    cut = boundary(rest, MAX_LINE_BYTES)
                    pieces.append((rest[:cut], True))
                    rest = rest[cut:]
                pieces.append(_piece(rest))
        return [*pieces, *self._cut_open()] if len(self._open) > MAX_LINE_BYTES else pieces

    def finish(self) -> list[Piece]:
        """The stream ended: what is left is a line that no newline ended."""
        rest = bytes(self._open)
        self._open.clear()
        return [(rest, True)] if rest else []

    def _cut_open(self) -> list[Piece]:
        pieces: list[Piece] = []
        while len(self._open) > MAX_LINE_BYTES:
            cut = boundary(self._open, MAX_LINE_BYTES)
            pieces.append((bytes(self._open[:cut]), True))
            del self._open[:cut]
        return pieces


def boundary(data: bytes | bytearray, at: int) -> int:
    """The last place at or before `at` where a UTF-8 character begins, if one is near; else `at`."""
    for place in range(at, at - 4, -1):
        if data[place] & 0xC0 != 0x80:
            return place
    return at


def _piece(line: bytes) -> Piece:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line, False


class Frame(msgspec.Struct, frozen=True):
    """Lines packed as NDJSON; `end`: no line of the attempt follows."""

    first_seq: int
    lines: int
    raw: bytes
    first_ts: int
    last_ts: int
    end: bool = False


class FrameCutter:
    """Numbers the lines of an attempt over both streams, from 1, and packs them."""

    def __init__(self) -> None:
        self.last_seq = 0
        """Number of the newest line."""
        self._splitters: dict[Stream, LineSplitter] = {"stdout": LineSplitter(), "stderr": LineSplitter()}
        self._lines: list[Line] = []
        self._size = 0
        self._last_ts = 0
        self._full: list[Frame] = []

    @property
    def waiting(self) -> bool:
        """Whether there are lines that no frame holds yet."""
        return bool(self._lines)

    def feed(self, stream: Stream, data: bytes, ts: int) -> list[Frame]:
        """Take bytes that a stream wrote at `ts` (Unix ms); the frames that are full now."""
        self._add(stream, self._splitters[stream].feed(data), ts)
        return self._take_full()

    def finish(self, ts: int) -> list[Frame]:
        """Both streams ended: the last frames; the very last has `end`, also when it has no line.

        Nothing at all for an attempt that wrote nothing.
        """
        for stream, splitter in self._splitters.items():
            self._add(stream, splitter.finish(), ts)
        return [*self._take_full(), self.cut(end=True)] if self.last_seq else []

    def cut(self, *, end: bool = False) -> Frame:
        """A frame of the lines that wait."""
        lines, self._lines, self._size = self._lines, [], 0
        first_ts = lines[0].ts if lines else self._last_ts
        raw = _encoder.encode_lines(lines)
        return Frame(self.last_seq - len(lines) + 1, len(lines), raw, first_ts, self._last_ts, end)

    def _take_full(self) -> list[Frame]:
        full, self._full = self._full, []
        return full

    def _add(self, stream: Stream, pieces: list[Piece], ts: int) -> None:
        ts = self._last_ts = max(ts, self._last_ts)  # the wall clock may have been set back
        for piece in pieces:
            if isinstance(piece, str):
                if len(piece) < SMALL_LINE_BYTES // 4:
                    self._append(stream, ts, piece, None, part=False)
                    continue
                piece = piece.encode(), False  # noqa: PLW2901 - long: measured like any other
            for data, part in _fitting(piece[0], part=piece[1]):
                self._append(stream, ts, *_texts(data), part=part)

    def _append(self, stream: Stream, ts: int, text: str, raw: str | None, *, part: bool) -> None:
        size = len(text) + len(raw or "") + LINE_OVERHEAD
        if self._size + size > FRAME_BYTES and self._lines:
            self._full.append(self.cut())
        self.last_seq += 1
        self._lines.append(Line(self.last_seq, ts, stream, text, raw, part))
        self._size += size


def _texts(data: bytes) -> tuple[str, str | None]:
    """The text of a line, and its bytes in base64 when they are not UTF-8."""
    try:
        return data.decode(), None
    except UnicodeDecodeError:
        return data.decode(errors="replace"), base64.b64encode(data).decode()


def _fitting(data: bytes, *, part: bool) -> list[tuple[bytes, bool]]:
    """The line cut into parts each of which, escaped, fits into a frame; nearly always just the line."""
    if len(data) > SMALL_LINE_BYTES:
        text, raw = _texts(data)
        if len(_encoder.encode((text, raw))) > MAX_FRAME_RAW_BYTES - ROOM_BYTES:
            half = boundary(data, len(data) // 2)
            return [*_fitting(data[:half], part=True), *_fitting(data[half:], part=part)]
    return [(data, part)]
