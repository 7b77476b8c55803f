"""The spool: log frames on disk until `stored` says that they are in object storage and indexed.

An attempt's frames are appended to numbered segment files; a segment is deleted once all of its frames are
stored, so a long log does not hold its whole length on disk. Each frame is preceded by its head, so the next
process finds what this one did not deliver. No fsync: see the journal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from penstock.events.logs import FrameHead
from penstock.runtime.log import logger
from penstock_services.runner.session import Key

SEGMENT_BYTES: Final = 8 * 1024 * 1024
KEPT_BYTES: Final = 1024 * 1024
"""Of each log so much is kept in memory, too, so that what is sent at once is not read back."""

_LENGTHS: Final = struct.Struct("!II")
_NAME: Final = re.compile(r"([0-9A-Za-z-]{1,64})\.([0-9]+)\.([0-9]{6})")
_encode: Final = msgspec.json.Encoder().encode
_heads: Final = msgspec.json.Decoder(FrameHead)

log = logger(__name__)


class Segment:
    """One file, and how many of its frames are not stored yet."""

    __slots__ = ("frames", "path", "size")

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self.size = size
        self.frames = 0


class SpooledFrame:
    """Where a frame lies. `sent_at` is when Kafka acknowledged it, by the monotonic clock; None: not yet."""

    __slots__ = ("head", "length", "offset", "payload", "segment", "sent_at")

    def __init__(self, head: FrameHead, segment: Segment, offset: int, length: int) -> None:
        self.head = head
        self.segment = segment
        self.offset = offset
        self.length = length
        self.payload: bytes | None = None
        self.sent_at: float | None = None


class SpooledLog:
    """The frames of one attempt that are not stored, in order; those from `unsent` on wait to be sent."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.frames: deque[SpooledFrame] = deque()
        self.unsent = 0
        """Index of the first frame to be sent, now or again."""
        self.kept = 0
        """Bytes of payloads held in memory."""
        self.segment: Segment | None = None
        """Where the next frame goes."""
        self.segments = 0

    def waiting(self, most_bytes: int) -> list[SpooledFrame]:
        """Frames to be sent next, together about so many bytes, at least one if there is one."""
        chosen: list[SpooledFrame] = []
        size = 0
        for index in range(self.unsent, len(self.frames)):
            frame = self.frames[index]
            if chosen and size + frame.length > most_bytes:
                break
            chosen.append(frame)
            size += frame.length
        return chosen

    def sent(self, frames: list[SpooledFrame], now: float) -> None:
        """These were acknowledged; some may have been stored, and so have left, meanwhile."""
        for frame in frames:
            frame.sent_at = now
            if frame.payload is not None:
                self.kept -= frame.length
                frame.payload = None
        last = frames[-1]
        for index in range(self.unsent, len(self.frames)):
            if self.frames[index] is last:
                self.unsent = index + 1
                return

    def send_again(self) -> None:
        """All that is not stored is to be sent once more."""
        self.unsent = 0


class Spool:
    """All logs of a runner. `bytes` counts what is not stored yet."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Open the folder; what earlier processes left is in `logs`. Raises `OSError`."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._limit = limit_bytes
        self.bytes = 0
        self.logs: dict[Key, SpooledLog] = {}
        for path in sorted(folder.iterdir()):
            self._recover(path)

    @property
    def full(self) -> bool:
        """Whether jobs should write no more for now. What they wrote is taken all the same."""
        return self.bytes >= self._limit

    def append(self, head: FrameHead, payload: bytes) -> SpooledLog:
        """Write a frame down; returns its log. Raises `OSError` when the disk does not take it."""
        spooled = self.logs.get(key := (head.job_id, head.attempt))
        if spooled is None:
            spooled = self.logs[key] = SpooledLog(key)
        segment = spooled.segment
        if segment is None or segment.size >= SEGMENT_BYTES:
            spooled.segments += 1
            name = f"{head.job_id}.{head.attempt}.{spooled.segments:06d}"
            assert _NAME.fullmatch(name), f"{head.job_id!r} is not a job id"
            segment = spooled.segment = Segment(self._folder / name)
        start = _encode(head)
        record = _LENGTHS.pack(len(start), len(payload)) + start + payload
        fd = os.open(segment.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if os.pwrite(fd, record, segment.size) < len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        self._add(spooled, segment, head, len(record) - len(payload), len(payload))
        if spooled.kept < KEPT_BYTES:
            spooled.kept += len(payload)
            spooled.frames[-1].payload = payload
        return spooled

    def read(self, frame: SpooledFrame) -> bytes:
        """The payload. Raises `OSError`."""
        if frame.payload is not None:
            return frame.payload
        fd = os.open(frame.segment.path, os.O_RDONLY)
        try:
            return os.pread(fd, frame.length, frame.offset)
        finally:
            os.close(fd)

    def free(self, key: Key, seq: int) -> None:
        """All lines up to `seq` are stored: forget their frames.

        An end without lines has the number of the line before it, which may have been stored earlier: it is
        believed to be stored only if it was sent before.
        """
        spooled = self.logs.get(key)
        if spooled is None:
            return
        frames = spooled.frames
        while frames and frames[0].head.last_seq <= seq:
            frame = frames[0]
            if not frame.head.lines and frame.sent_at is None:
                return
            frames.popleft()
            spooled.unsent = max(0, spooled.unsent - 1)
            if frame.payload is not None:
                spooled.kept -= frame.length
                frame.payload = None
            self.bytes -= frame.length
            self._release(spooled, frame.segment)
            if frame.head.end:
                self._forget(spooled)
                return
        if not frames and spooled.segment is None:  # what a dead process left has no end
            self._forget(spooled)

    def _forget(self, spooled: SpooledLog) -> None:
        del self.logs[spooled.key]
        if spooled.segment is not None:
            spooled.segment.path.unlink(missing_ok=True)

    def _add(self, spooled: SpooledLog, segment: Segment, head: FrameHead, start: int, length: int) -> None:
        spooled.frames.append(SpooledFrame(head, segment, segment.size + start, length))
        segment.size += start + length
        segment.frames += 1
        self.bytes += length

    def _release(self, spooled: SpooledLog, segment: Segment) -> None:
        segment.frames -= 1
        if segment.frames == 0 and segment is not spooled.segment:
            segment.path.unlink(missing_ok=True)

    def _recover(self, path: Path) -> None:
        match = _NAME.fullmatch(path.name)
        if match is None:
            log.warning("not a spool file, left alone", path=str(path))
            return
        key = (match[1], int(match[2]))
        segment = Segment(path)
        spooled = self.logs.get(key) or SpooledLog(key)
        for head, start, length in _scan(path):
            self._add(spooled, segment, head, start, length)
        if segment.frames:
            self.logs[key] = spooled
            # The dead process may have been cut off inside a frame: nothing is appended to its files.
            spooled.segments = int(match[3])
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _scan(path: Path) -> Iterator[tuple[FrameHead, int, int]]:
    """(head, bytes before the payload, bytes of the payload) of each whole frame in a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while len(lengths := file.read(_LENGTHS.size)) == _LENGTHS.size:
            start, length = _LENGTHS.unpack(lengths)
            place += _LENGTHS.size + start + length
            if place > size:
                return
            try:
                head = _heads.decode(file.read(start))
            except msgspec.DecodeError as error:
                log.warning("spool file is damaged", path=str(path), error=str(error))
                return
            yield head, _LENGTHS.size + start, length
            file.seek(place)
