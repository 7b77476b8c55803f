"""The logs in memory: frames that are not stored yet, and what the index says of each log."""

from __future__ import annotations

import bisect
from collections.abc import Collection
from typing import NamedTuple

from penstock.core.errors import DeadLetter
from penstock.events.workers import Stored
from penstock.store.logs import Head, LogKey
from penstock_services.logs import decide
from penstock_services.logs.decide import Limits, Range
from penstock_services.logs.frames import Frame, part_of

VIEW_FRAMES = 64
"""Most frames that a reader is given at once."""


class Cut(NamedTuple):
    """Chunks of one log to be stored, each a list of frames; `head` is what the index says before.

    None of them when only the end is new.
    """

    key: LogKey
    tenant: str
    session_id: str
    partition: int
    head: Head
    groups: list[list[Frame]]
    end_seq: int | None

    @property
    def frames(self) -> list[Frame]:
        """All of its frames."""
        return [frame for group in self.groups for frame in group]

    def after(self) -> Head:
        """The head once all of it is indexed."""
        ranges = [(group[0].first_seq, group[-1].last_seq) for group in self.groups]
        return decide.grown(self.head, ranges, end_seq=self.end_seq)


class View(NamedTuple):
    """What a reader sees of a log in memory: frames without a gap, and how far the log is known to go.

    `head` is None until the index was asked, `end_seq` until the end is known.
    """

    frames: list[Frame]
    head: Head | None
    end_seq: int | None


class BufferedLog:
    """The log of one attempt."""

    __slots__ = ("alarm", "at", "end", "frames", "head", "key", "partition", "raw_bytes", "session_id",
                 "storing", "tenant")  # fmt: skip

    def __init__(self, first: Frame) -> None:
        self.key = first.key
        self.tenant = first.tenant
        self.partition = first.partition
        self.session_id = first.session_id
        """The runner session that sent the newest frame: `stored` goes there."""
        self.at = first.at
        """When the newest frame came."""
        self.frames: list[Frame] = []
        """Not stored yet, sorted by line, without overlap."""
        self.raw_bytes = 0
        """Of all frames."""
        self.head: Head | None = None
        self.end: Frame | None = None
        """The end-of-log record."""
        self.storing = False
        """A cut is on its way; one at a time, for the index grows in order."""
        self.alarm: float | None = None
        """When it is looked at at the latest."""

    @property
    def end_seq(self) -> int | None:
        """Number of the last line there is, once known."""
        if self.head is not None and self.head.end_seq is not None:
            return self.head.end_seq
        return None if self.end is None else self.end.last_seq

    def take(self, frame: Frame) -> list[Frame]:
        """Keep what of a frame is neither stored nor kept already; returns that.

        Raises:
            DeadLetter: it has lines behind the end of the log.
        """
        if self.end_seq is not None and frame.last_seq > self.end_seq:
            raise DeadLetter(f"log frame: line {frame.last_seq} of a log that ended with {self.end_seq}")
        self.session_id, self.at = frame.session_id, frame.at
        kept = [part_of(frame, *part) for part in self._missing((frame.first_seq, frame.last_seq))]
        for part in kept:
            self._insert(part)
        if frame.end and self.end_seq is None:
            self.end = frame
        return kept

    def is_stored(self, frame: Frame) -> bool:
        """Whether the index has all of this frame, and all before it."""
        if self.head is None or (frame.end and self.head.end_seq is None):
            return False
        return frame.last_seq <= self.head.unbroken

    def know(self, head: Head) -> None:
        """The index says how far it is stored: keep only what it lacks."""
        self.head = head
        stored = decide.stored_ranges(head)
        frames, self.frames, self.raw_bytes = self.frames, [], 0
        for frame in frames:
            for part in decide.without((frame.first_seq, frame.last_seq), stored):
                self._insert(part_of(frame, *part))

    def drop(self, frames: Collection[Frame]) -> None:
        """These leave: they are stored, or can never be."""
        gone = {id(frame) for frame in frames}
        self.frames = [frame for frame in self.frames if id(frame) not in gone]
        self.raw_bytes = sum(frame.raw_bytes for frame in self.frames)

    def answer(self) -> Stored | None:
        """What its runner may forget; None while the index was not asked."""
        return None if self.head is None else Stored(*self.key, self.head.unbroken)

    def cut(self, limits: Limits, now: float, *, pressed: bool) -> Cut | None:
        """What to store now, if anything."""
        if self.storing or self.head is None:
            return None
        groups = decide.cut(self.frames, self.head, self.end_seq, limits, now, pressed=pressed)
        if groups is None:
            return None
        return Cut(self.key, self.tenant, self.session_id, self.partition, self.head, groups, self.end_seq)

    def view(self, seq: int) -> View:
        """The frames with line `seq` and those after it up to a gap; none when it is not here."""
        place = bisect.bisect_left(self.frames, seq, key=lambda frame: frame.last_seq)
        found: list[Frame] = []
        for frame in self.frames[place : place + VIEW_FRAMES]:
            if frame.first_seq > seq:
                break
            found.append(frame)
            seq = frame.last_seq + 1
        return View(found, self.head, self.end_seq)

    def _missing(self, wanted: Range) -> list[Range]:
        reached = max(
            self.frames[-1].last_seq if self.frames else 0, 0 if self.head is None else self.head.last_seq
        )
        if reached < wanted[0] <= wanted[1]:
            return [wanted]
        stored = [] if self.head is None else decide.stored_ranges(self.head)
        kept = [(frame.first_seq, frame.last_seq) for frame in self.frames]
        return [rest for part in decide.without(wanted, stored) for rest in decide.without(part, kept)]

    def _insert(self, frame: Frame) -> None:
        place = bisect.bisect(self.frames, frame.first_seq, key=lambda other: other.first_seq)
        self.frames.insert(place, frame)
        self.raw_bytes += frame.raw_bytes
