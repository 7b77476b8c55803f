"""Cuts a stream into frames without copying it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """A part of a frame, as much of it as has come."""

    head: bytes | None
    """With the first piece of a frame: the bytes by which it is known."""
    data: memoryview | bytes
    """To be used or copied before the next chunk comes."""
    last: bool
    """The frame ends with it."""


class Framing(Protocol):
    """Of one direction of one connection."""

    def feed(self, chunk: memoryview) -> Iterator[Piece]:
        """The pieces that are in this chunk; the beginning of a head is kept until the rest of it comes."""
        ...


class LengthFraming:
    """Frames whose head of fixed size tells how long they are; `size` gives the length of the whole frame."""

    def __init__(self, head: int, size: Callable[[bytes], int]) -> None:
        """Both may be set to something else at the end of a frame."""
        self.head = head
        self.size = size
        self._held = b""
        self._left = 0

    def feed(self, chunk: memoryview) -> Iterator[Piece]:
        """See `Framing.feed`."""
        at, end = 0, len(chunk)
        while at < end:
            if self._left:
                take = min(self._left, end - at)
                self._left -= take
                yield Piece(None, chunk[at : at + take], not self._left)
                at += take
                continue
            missing = self.head - len(self._held)
            if end - at < missing:
                self._held += bytes(chunk[at:])
                return
            if self._held:
                head = self._held + bytes(chunk[at : at + missing])
                self._held = b""
                at += missing
                self._left = self.size(head) - len(head)
                yield Piece(head, head, not self._left)
                continue
            head = bytes(chunk[at : at + self.head])
            take = min(self.size(head), end - at)
            self._left = self.size(head) - take
            yield Piece(head, chunk[at : at + take], not self._left)
            at += take
