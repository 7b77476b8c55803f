"""zstd frames of lines: each is independent, so frames put end to end are again valid zstd."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from penstock.core.errors import DeadLetter

ZSTD_LEVEL: Final = 3
PACKED_BYTES: Final = 64 * 1024
"""Most that a frame in a chunk decompresses to, unless a single one from a runner is larger."""


class _Codec(threading.local):
    """One compressor and decompressor a thread: neither may be used by two at once."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor()


_codec: Final = _Codec()


def compress(lines: bytes) -> bytes:
    """One frame, with its content's size in its header."""
    return _codec.compressor.compress(lines)


def decompress(frame: bytes) -> bytes:
    """The lines of a frame that was checked before."""
    return _codec.decompressor.decompress(frame)


def decompress_untrusted(frame: bytes, raw_bytes: int) -> bytes:
    """The lines of a frame that claims to hold `raw_bytes`; no more than that is ever made.

    Raises:
        DeadLetter: it is not exactly one zstd frame of so many bytes.
    """
    try:
        size = zstandard.frame_content_size(frame)
        if size not in (raw_bytes, -1):
            raise DeadLetter(f"log frame: it says {raw_bytes} bytes in its headers and {size} inside")
        lines = _codec.decompressor.decompress(
            frame, max_output_size=max(1, raw_bytes), allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise DeadLetter(f"log frame: not a zstd frame of {raw_bytes} bytes: {error}") from error
    if len(lines) != raw_bytes:
        raise DeadLetter(f"log frame: it says {raw_bytes} bytes in its headers and has {len(lines)}")
    return lines


def skip_lines(lines: bytes, count: int) -> bytes:
    """Without the first `count` lines."""
    return lines.split(b"\n", count)[count] if count else lines
