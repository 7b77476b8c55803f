"""All logs of the partitions owned here: which are due to be stored, which offsets are done, how much it is.

The polling thread changes it; the tail looks at it from another, so every method takes the lock.
"""

from __future__ import annotations

import dataclasses
import heapq
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from penstock.events.workers import Stored
from penstock.kafka.records import Partition, Record
from penstock.store.logs import Head, LogKey
from penstock_services.logs import decide
from penstock_services.logs.buffers import BufferedLog, Cut, View
from penstock_services.logs.decide import Limits
from penstock_services.logs.frames import Frame

IDLE_SECONDS: Final = 600.0
"""An open log with nothing in memory is forgotten so long after its last frame; the index knows it."""
COMPLETE_SECONDS: Final = 60.0
"""A complete one; so long it answers repeated frames without asking the index."""
PRESSED: Final = 0.5
"""The part of the bound above which the oldest are stored before their time."""


class Answer(NamedTuple):
    """What a runner session may forget."""

    session_id: str
    stored: Stored


class Offsets:
    """How far a partition is done: up to the first record of which something is still needed."""

    def __init__(self) -> None:
        self.next: int | None = None
        """Behind the last record read; None until one was."""
        self._needed: OrderedDict[int, int] = OrderedDict()

    def hold(self, offset: int) -> None:
        """A frame of this record is kept."""
        self._needed[offset] = self._needed.get(offset, 0) + 1

    def release(self, offset: int) -> None:
        """A frame of this record is needed no more."""
        left = self._needed.get(offset, 0) - 1
        if left > 0:
            self._needed[offset] = left
        else:
            self._needed.pop(offset, None)

    @property
    def done(self) -> int | None:
        """The offset to commit, if any."""
        return next(iter(self._needed)) if self._needed else self.next


class Memory:
    """Frames by log. `bound_bytes` is what it holds at most, give or take a batch."""

    def __init__(self, limits: Limits, bound_bytes: int) -> None:
        self._limits = limits
        self._bound = bound_bytes
        self._lock = threading.Lock()
        self._logs: dict[LogKey, BufferedLog] = {}
        self._offsets: dict[int, Offsets] = {}
        self._unknown: list[LogKey] = []
        """Logs for which the index is to be asked."""
        self._ready: OrderedDict[LogKey, None] = OrderedDict()
        """Logs to look at, in order."""
        self._alarms: list[tuple[float, LogKey]] = []
        self._bytes = 0
        self._storing = 0
        """Bytes that are on their way to the storage."""

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for now."""
        return self._bytes >= self._bound

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be stored."""
        return not self._bytes

    def assign(self, partitions: Iterable[int]) -> None:
        """These are owned from now on."""
        with self._lock:
            for number in partitions:
                self._offsets[number] = Offsets()

    def revoke(self, partitions: Collection[int]) -> list[LogKey]:
        """Forget all of these; their next owner reads again what was not committed. Returns their logs."""
        with self._lock:
            gone = [key for key, log in self._logs.items() if log.partition in partitions]
            for key in gone:
                self._forget(key)
            for number in partitions:
                self._offsets.pop(number, None)
            return gone

    def partitions(self) -> list[int]:
        """Those owned, sorted."""
        with self._lock:
            return sorted(self._offsets)

    def read(self, record: Record) -> bool:
        """A record was read: it is done unless `take` keeps something of it. False: its partition is gone."""
        with self._lock:
            offsets = self._offsets.get(record.partition)
            if offsets is not None:
                offsets.next = record.offset + 1
            return offsets is not None

    def take(self, frame: Frame) -> Answer | None:
        """Keep what of a frame is needed; an answer if all of it is stored already.

        Raises:
            DeadLetter: it has lines behind the end of its log.
        """
        with self._lock:
            log = self._logs.get(frame.key)
            if log is None:
                log = self._logs[frame.key] = BufferedLog(frame)
                self._unknown.append(frame.key)
            end = log.end
            for part in log.take(frame):
                self._hold(part)
            if log.end is not end:
                self._hold(frame)
            if log.is_stored(frame):
                return self._answer(log)
            self._ready[frame.key] = None
            return None

    def unknown(self) -> list[LogKey]:
        """Logs that came since the last call: the index is to be asked how far they are stored."""
        with self._lock:
            unknown, self._unknown = self._unknown, []
            return unknown

    def know(self, heads: Mapping[LogKey, Head]) -> list[Answer]:
        """What the index says. Returns answers for those of which nothing is left to be stored."""
        with self._lock:
            return [answer for key, head in heads.items() for answer in self._know(key, head)]

    def cuts(self, now: float, room: int) -> list[Cut]:
        """What is to be stored now, at most `room` logs; each is followed by `stored` or `refused`."""
        with self._lock:
            while self._alarms and self._alarms[0][0] <= now:
                self._wake()
            chosen = self._choose(self._limits, now, room, pressed=False)
            while self._pressed() and self._alarms and len(chosen) < room:
                self._wake()
                chosen += self._choose(self._limits, now, room - len(chosen), pressed=True)
            return chosen

    def drain(self, now: float, room: int) -> list[Cut]:
        """Like `cuts`, but of everything, however young; what lies behind a gap stays."""
        with self._lock:
            self._ready.update(dict.fromkeys(self._logs))
            return self._choose(dataclasses.replace(self._limits, chunk_seconds=0), now, room, pressed=False)

    def stored(self, cut: Cut, head: Head, *, won: bool) -> list[Answer]:
        """A cut is in the index, or (not `won`) the index held something else: `head` is what it says now."""
        with self._lock:
            log = self._finish(cut)
            if log is None:
                return []
            if won:
                self._release_all(log, cut.frames)
                log.head = head
                self._settle(log)
                return [self._answer(log)]
            return self._know(cut.key, head)

    def refused(self, cut: Cut) -> bool:
        """A cut can never be stored: forget its frames. Whether they were still here."""
        with self._lock:
            log = self._finish(cut)
            if log is None:
                return False
            self._release_all(log, cut.frames)
            if log.end is not None:
                self._release(log.end)
                log.end = None
            self._ready[log.key] = None
            return True

    def done(self, topic: str) -> dict[Partition, int]:
        """Up to where each partition is done: what may be committed."""
        with self._lock:
            found = {number: offsets.done for number, offsets in self._offsets.items()}
            return {(topic, number): offset for number, offset in found.items() if offset is not None}

    def view(self, key: LogKey, seq: int) -> View | None:
        """What is in memory of a log from line `seq` on; None when the log is not here."""
        with self._lock:
            log = self._logs.get(key)
            return None if log is None else log.view(seq)

    def busy(self) -> set[LogKey]:
        """Logs of which something waits to be stored."""
        with self._lock:
            return {key for key, log in self._logs.items() if log.frames or log.storing}

    def forget_idle(self, now: float) -> None:
        """Forget logs of which nothing came for long and nothing waits."""
        with self._lock:
            for key, log in list(self._logs.items()):
                keep = COMPLETE_SECONDS if log.head is not None and log.head.complete else IDLE_SECONDS
                if now - log.at > keep and log.head is not None and not (log.frames or log.storing):
                    self._forget(key)

    def _know(self, key: LogKey, head: Head) -> list[Answer]:
        log = self._logs.get(key)
        if log is None or log.storing:
            return []
        before = log.frames
        log.know(head)
        for frame in log.frames:
            self._hold(frame)
        for frame in before:
            self._release(frame)
        self._settle(log)
        return [] if log.frames or log.end is not None else [self._answer(log)]

    def _settle(self, log: BufferedLog) -> None:
        """The head is new: the end-of-log record may be done, and more may be due."""
        if log.end is not None and log.head is not None and log.head.end_seq is not None:
            self._release(log.end)
            log.end = None
        self._ready[log.key] = None

    def _choose(self, limits: Limits, now: float, room: int, *, pressed: bool) -> list[Cut]:
        chosen: list[Cut] = []
        while self._ready and len(chosen) < room:
            key, _ = self._ready.popitem(last=False)
            log = self._logs[key]
            if limits is self._limits and not pressed and self._can_wait(log):
                continue
            cut = log.cut(limits, now, pressed=pressed)
            if cut is not None:
                log.storing = True
                self._storing += sum(frame.size for frame in cut.frames)
                chosen.append(cut)
            elif log.frames and log.head is not None and not log.storing:
                self._set_alarm(log, decide.due_at(log.frames, log.head, limits, now))
        return chosen

    def _can_wait(self, log: BufferedLog) -> bool:
        """Until its alarm nothing but its size and its end can make it due."""
        return log.alarm is not None and log.raw_bytes < self._limits.chunk_bytes and log.end_seq is None

    def _pressed(self) -> bool:
        return self._bytes - self._storing >= self._bound * PRESSED

    def _set_alarm(self, log: BufferedLog, at: float) -> None:
        if log.alarm is None or at < log.alarm:
            log.alarm = at
            heapq.heappush(self._alarms, (at, log.key))

    def _wake(self) -> None:
        at, key = heapq.heappop(self._alarms)
        log = self._logs.get(key)
        if log is not None and log.alarm == at:
            log.alarm = None
            self._ready[key] = None

    def _finish(self, cut: Cut) -> BufferedLog | None:
        self._storing -= sum(frame.size for frame in cut.frames)
        log = self._logs.get(cut.key)
        if log is None or not log.storing or log.head is not cut.head:
            return None  # the partition was taken away meanwhile, and perhaps came back
        log.storing = False
        return log

    def _release_all(self, log: BufferedLog, frames: list[Frame]) -> None:
        log.drop(frames)
        for frame in frames:
            self._release(frame)

    def _forget(self, key: LogKey) -> None:
        log = self._logs.pop(key)
        self._ready.pop(key, None)
        for frame in log.frames if log.end is None else [*log.frames, log.end]:
            self._release(frame)

    def _answer(self, log: BufferedLog) -> Answer:
        assert log.head is not None
        return Answer(log.session_id, Stored(*log.key, log.head.unbroken))

    def _hold(self, frame: Frame) -> None:
        self._bytes += frame.size
        self._offsets[frame.partition].hold(frame.offset)

    def _release(self, frame: Frame) -> None:
        self._bytes -= frame.size
        offsets = self._offsets.get(frame.partition)
        if offsets is not None:  # a job's partition changes when partitions are added, its log stays
            offsets.release(frame.offset)
