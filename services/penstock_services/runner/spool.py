"""The spool: log frames on disk until `stored` says that they are in object storage and indexed.

Frames of all attempts are appended to shared segment files, each preceded by its head, so the next process
finds what this one did not deliver. A segment goes when all of its frames are stored; one that a slow log
keeps alive is emptied by moving what is left of it. (To make a file for each attempt would cost a short job
more than its process does.) No fsync: see the journal.
"""

from __future__ import annotations

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
_NAME: Final = re.compile(r"([0-9]{8})\.spool")
_encode: Final = msgspec.json.Encoder().encode
_heads: Final = msgspec.json.Decoder(FrameHead)

log = logger(__name__)


class Segment:
    """One file, open as long as it lives, and how much of it is not stored yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.size = os.fstat(self.fd).st_size
        self.frames = 0
        self.bytes = 0

    def write(self, head: FrameHead, payload: bytes) -> int:
        """Append a frame; where its payload begins. Raises `OSError`."""
        start = _encode(head)
        record = _LENGTHS.pack(len(start), len(payload)) + start + payload
        if os.pwrite(self.fd, record, self.size) < len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(record)
        return self.size - len(payload)

    def enter(self, frame: SpooledFrame) -> None:
        """The frame lies here."""
        self.frames += 1
        self.bytes += frame.length

    def leave(self, frame: SpooledFrame) -> None:
        """The frame is stored or moved."""
        self.frames -= 1
        self.bytes -= frame.length

    def clear(self) -> None:
        """Nothing in it is needed."""
        os.ftruncate(self.fd, 0)
        self.size = 0

    def remove(self) -> None:
        """Close and delete it."""
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


class SpooledFrame:
    """Where a frame lies. `sent_at` is when it was acknowledged, by the monotonic clock; None: not yet."""

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

    def __init__(self, key: Key, *, left: bool = False) -> None:
        self.key = key
        self.left = left
        """By an earlier process: nothing will be appended, not even an end."""
        self.frames: deque[SpooledFrame] = deque()
        self.unsent = 0
        """Index of the first frame to be sent, now or again."""
        self.kept = 0
        """Bytes of payloads held in memory."""

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
            self.let_go(frame)
        first, last = frames[0], frames[-1]
        for index in range(self.unsent, len(self.frames)):
            if self.frames[index] is first and index > self.unsent:
                return  # those before it are to be sent again since
            if self.frames[index] is last:
                self.unsent = index + 1
                return

    def send_again(self) -> None:
        """All that is not stored is to be sent once more."""
        self.unsent = 0

    def let_go(self, frame: SpooledFrame) -> None:
        """Its payload need not be in memory any more."""
        if frame.payload is not None:
            self.kept -= frame.length
            frame.payload = None


class Spool:
    """All logs of a runner. `bytes` counts what is not stored yet."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Open the folder; what earlier processes left is in `logs`. Raises `OSError`."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._limit = limit_bytes
        self._segments: list[Segment] = []
        self._last = 0
        self.bytes = 0
        self.logs: dict[Key, SpooledLog] = {}
        # Nothing is appended to what a dead process left: it may have been cut off inside a frame.
        self._current: Segment | None = None
        self._recover()

    @property
    def full(self) -> bool:
        """Whether jobs should write no more for now. What they wrote is taken all the same."""
        return self.bytes >= self._limit

    def append(self, head: FrameHead, payload: bytes) -> SpooledLog:
        """Write a frame down; returns its log. Raises `OSError` when the disk does not take it."""
        segment, offset = self._write(head, payload)
        frame = SpooledFrame(head, segment, offset, len(payload))
        spooled = self.logs.get(key := (head.job_id, head.attempt))
        if spooled is None:
            spooled = self.logs[key] = SpooledLog(key)
        self._hold(spooled, frame)
        if spooled.kept < KEPT_BYTES:
            spooled.kept += frame.length
            frame.payload = payload
        return spooled

    def read(self, frame: SpooledFrame) -> bytes:
        """The payload. Raises `OSError`."""
        if frame.payload is not None:
            return frame.payload
        return os.pread(frame.segment.fd, frame.length, frame.offset)

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
            spooled.let_go(frame)
            self._leave(frame)
            if frame.head.end:
                del self.logs[key]
                return
        if not frames and spooled.left:
            del self.logs[key]

    def close(self) -> None:
        """Close the files; what is not stored stays for the next process."""
        for segment in self._segments:
            os.close(segment.fd)

    def _write(self, head: FrameHead, payload: bytes) -> tuple[Segment, int]:
        current = self._current
        if current is None or current.size >= SEGMENT_BYTES:
            current = self._roll_over()
        return current, current.write(head, payload)

    def _roll_over(self) -> Segment:
        self._last += 1
        current = self._current = Segment(self._folder / f"{self._last:08d}.spool")
        self._segments.append(current)
        # At most a quarter is moved, so moving costs little, and files are at most four times what they hold.
        oldest = self._segments[0]
        if oldest is not current and oldest.bytes < oldest.size // 4:
            self._move(oldest, current)
        return current

    def _move(self, old: Segment, new: Segment) -> None:
        for spooled in self.logs.values():
            for frame in spooled.frames:
                if frame.segment is old:
                    frame.offset = new.write(frame.head, self.read(frame))
                    frame.segment = new
                    new.enter(frame)
                    old.leave(frame)
        self._drop(old)

    def _hold(self, spooled: SpooledLog, frame: SpooledFrame) -> None:
        spooled.frames.append(frame)
        frame.segment.enter(frame)
        self.bytes += frame.length

    def _leave(self, frame: SpooledFrame) -> None:
        segment = frame.segment
        segment.leave(frame)
        self.bytes -= frame.length
        if segment.frames == 0:
            if segment is self._current:
                segment.clear()
            else:
                self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        self._segments.remove(segment)
        segment.remove()

    def _recover(self) -> None:
        seen: set[tuple[Key, int]] = set()
        for path in sorted(self._folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match is None:
                log.warning("not a spool file, left alone", path=str(path))
                continue
            self._last = int(match[1])
            segment = Segment(path)
            self._segments.append(segment)
            for head, offset, length in _scan(segment):
                key = (head.job_id, head.attempt)
                if (key, head.first_seq) not in seen:  # it may have been moved just before the end
                    seen.add((key, head.first_seq))
                    spooled = self.logs.setdefault(key, SpooledLog(key, left=True))
                    self._hold(spooled, SpooledFrame(head, segment, offset, length))
            if not segment.frames:
                self._drop(segment)
        for spooled in self.logs.values():
            spooled.frames = deque(sorted(spooled.frames, key=lambda frame: frame.head.first_seq))


def _scan(segment: Segment) -> Iterator[tuple[FrameHead, int, int]]:
    """(head, offset and length of the payload) of each whole frame in a file."""
    place = 0
    while place + _LENGTHS.size <= segment.size:
        start, length = _LENGTHS.unpack(os.pread(segment.fd, _LENGTHS.size, place))
        offset = place + _LENGTHS.size + start
        if offset + length > segment.size:
            return
        try:
            head = _heads.decode(os.pread(segment.fd, start, place + _LENGTHS.size))
        except msgspec.DecodeError as error:
            log.warning("spool file is damaged", path=str(segment.path), error=str(error))
            return
        yield head, offset, length
        place = offset + length
