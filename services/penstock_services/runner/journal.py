"""The journal: every report is written down before it is sent, and stays until it is settled.

One append-only file of JSON lines that survives the process, so that a restarted runner still tells how its
predecessor's attempts ended. There is no fsync: a crash of the process loses nothing, and after a power loss
the leases of everything this machine ran end anyway, so a lost line costs a second run, never a result that
somebody was told of.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from penstock.events.jobs import Report
from penstock.events.workers import Settled
from penstock.runtime.log import logger
from penstock_services.runner.session import Key

COMPACT_BYTES: Final = 1024 * 1024
"""The file is rewritten when it is larger than this and than twice what is unsettled."""

log = logger(__name__)


class Entry(msgspec.Struct, frozen=True):
    """A report and the pipeline under whose key it is sent."""

    pipeline_id: str
    report: Report

    @property
    def key(self) -> Key:
        """The attempt."""
        return self.report.job_id, self.report.attempt


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the file: an entry, or the settlements that arrived together."""

    entry: Entry | None = None
    settled: list[Settled] = []


class _Unsettled:
    __slots__ = ("entry", "sent_at")

    def __init__(self, entry: Entry, sent_at: float) -> None:
        self.entry = entry
        self.sent_at = sent_at


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Line)


class Journal:
    """Unsettled reports, on disk and in memory. Of one attempt only the newest: an end implies its start."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; what its last writer left unsettled is in `leftovers`.

        Raises:
            OSError: it cannot be written.
        """
        self._path = path
        self._fd = -1
        self._size = self._kept = 0
        self._torn = False
        self._unsettled: dict[Key, _Unsettled] = {}
        for entry in _read(path):
            # A start without an end died with its process: its lease tells the services.
            if entry.report.kind == "ended":
                self._unsettled[entry.key] = _Unsettled(entry, float("-inf"))
        self.leftovers = [unsettled.entry for unsettled in self._unsettled.values()]
        self._compact()

    def append(self, entries: Iterable[Entry], now: float) -> None:
        """Write these down; they count as sent at `now` (monotonic seconds)."""
        entries = list(entries)
        for entry in entries:
            self._unsettled[entry.key] = _Unsettled(entry, now)
        self._write([_Line(entry) for entry in entries])

    def settle(self, settled: list[Settled]) -> None:
        """These were decided. A settled start leaves a report of the end in place."""
        marks: list[Settled] = []
        for item in settled:
            unsettled = self._unsettled.get((item.job_id, item.attempt))
            if unsettled is not None and unsettled.entry.report.kind == item.kind:
                del self._unsettled[item.job_id, item.attempt]
                marks.append(item)
        if marks:
            self._write([_Line(settled=marks)])
        if self._size > COMPACT_BYTES and self._size > 2 * self._kept:
            try:
                self._compact()
            except OSError as error:
                log.warning("journal not compacted", path=str(self._path), error=error.strerror)
                self._kept = self._size  # try again when it has doubled

    def due(self, now: float, age: float) -> list[Entry]:
        """Entries sent longer than `age` seconds ago; they count as sent again at `now`."""
        due = [unsettled for unsettled in self._unsettled.values() if now - unsettled.sent_at >= age]
        for unsettled in due:
            unsettled.sent_at = now
        return [unsettled.entry for unsettled in due]

    def __len__(self) -> int:
        return len(self._unsettled)

    def close(self) -> None:
        """Close the file; it stays for the next process."""
        os.close(self._fd)

    def _write(self, lines: list[_Line]) -> None:
        text = _encoder.encode_lines(lines)
        if self._torn:
            text = b"\n" + text
        try:
            written = os.write(self._fd, text)
        except OSError as error:
            written = 0
            reason = error.strerror
        else:
            reason = "no room"
        self._size += written
        self._torn = written < len(text)
        if self._torn:
            # Reports go out all the same; only a crash before they are settled would lose them.
            log.error("journal not written", path=str(self._path), error=reason)

    def _compact(self) -> None:
        text = _encoder.encode_lines([_Line(unsettled.entry) for unsettled in self._unsettled.values()])
        new = self._path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)  # it holds tokens
        try:
            whole = os.write(fd, text) == len(text)
            if whole:
                new.replace(self._path)
        except OSError:
            os.close(fd)
            raise
        if not whole:
            os.close(fd)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._size = self._kept = len(text)
        self._torn = False


def _read(path: Path) -> list[Entry]:
    unsettled: dict[Key, Entry] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    for line in lines:
        if not line:
            continue
        try:
            read = _decoder.decode(line)
        except msgspec.DecodeError as error:
            # The last line of a process that died while it wrote; no report was sent of it.
            log.warning("journal line skipped", path=str(path), error=str(error))
            continue
        if read.entry is not None:
            unsettled[read.entry.key] = read.entry
        for item in read.settled:
            entry = unsettled.get((item.job_id, item.attempt))
            if entry is not None and entry.report.kind == item.kind:
                del unsettled[item.job_id, item.attempt]
    return list(unsettled.values())
