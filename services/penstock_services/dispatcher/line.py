"""A line of waiting jobs, oldest first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping

from penstock.events.jobs import ReadyJob

Entry = tuple[float, str, ReadyJob]
"""When it was queued (Unix seconds), its id, and the job."""

SLACK = 64
"""So many entries of jobs that have left may stay, beyond as many as still wait."""


def age_of(entry: Entry) -> tuple[float, str]:
    """What entries are sorted by."""
    return entry[:2]


class Line:
    """Jobs come nearly in order of age and mostly leave at the head, so that a sorted list does.

    `present` says which jobs wait: an entry whose job is not in it, or is there as another object, is passed
    over and dropped later. 100 bytes a job.
    """

    __slots__ = ("_entries", "_head", "_present", "size")

    def __init__(self, present: Mapping[str, ReadyJob]) -> None:
        self._present = present
        self._entries: list[Entry] = []
        self._head = 0
        self.size = 0
        """Jobs that wait in it."""

    def add(self, entry: Entry) -> None:
        """A job that is present."""
        entries = self._entries
        if not entries or age_of(entries[-1]) < age_of(entry):
            entries.append(entry)
        else:
            insort(entries, entry, lo=self._head, key=age_of)
        self.size += 1

    def discard(self) -> None:
        """One of its jobs is present no more."""
        self.size -= 1
        entries, present = self._entries, self._present
        while self._head < len(entries) and present.get(entries[self._head][1]) is not entries[self._head][2]:
            self._head += 1
        if len(entries) > 2 * self.size + SLACK:
            self._entries = list(self)
            self._head = 0

    def __iter__(self) -> Iterator[Entry]:
        present = self._present
        entries = self._entries
        for at in range(self._head, len(entries)):
            entry = entries[at]
            if present.get(entry[1]) is entry[2]:
                yield entry
