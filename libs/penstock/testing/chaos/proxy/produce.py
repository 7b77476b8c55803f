"""The answer to a produce request that no broker was asked, for its versions 3 to 13."""

from __future__ import annotations

import struct
from typing import Final

FLEXIBLE: Final = 9
"""From this version on lengths are varints and everything may have tagged fields."""
TOPIC_IDS: Final = 13
"""From this version on topics are known by their ids."""
LEADER_EPOCHS: Final = 5
RECORD_ERRORS: Final = 8
_NONE: Final = struct.pack(">qq", -1, -1)
"""No base offset, no time of appending."""


class _Reader:
    def __init__(self, data: bytes, *, flexible: bool) -> None:
        self._data = data
        self._at = 0
        self._flexible = flexible

    def number(self, form: str) -> int:
        """A fixed-size one."""
        size = struct.calcsize(form)
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += size
        return int(value)

    def take(self, size: int) -> bytes:
        """So many bytes; none for a negative size."""
        taken = self._data[self._at : self._at + max(0, size)]
        self._at += len(taken)
        return taken

    def length(self, form: str) -> int:
        """Of an array or bytes; -1 is null."""
        return self.varint() - 1 if self._flexible else self.number(form)

    def text(self) -> bytes:
        """A string, null as an empty one."""
        return self.take(self.length(">h"))

    def varint(self) -> int:
        """Unsigned."""
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def tags(self) -> None:
        """Skip them."""
        if self._flexible:
            for _ in range(self.varint()):
                self.varint()
                self.take(self.varint())


def refusal(request: bytes, error: int) -> bytes:
    """The frame that answers this produce request: every partition of it has this error.

    Raises:
        ValueError: the version is none that is known here.
    """
    _, _, version, correlation = struct.unpack_from(">ihhi", request)
    if not 3 <= version <= TOPIC_IDS:
        raise ValueError(f"produce version {version} is not known here")
    flexible = version >= FLEXIBLE
    reader = _Reader(request, flexible=flexible)
    reader.take(12)
    reader.take(reader.number(">h"))  # the client's id, never of variable size
    reader.tags()
    reader.text()  # the transaction
    reader.number(">h")  # acks
    reader.number(">i")  # timeout
    topics = [_topic(reader, version, error) for _ in range(reader.length(">i"))]
    tags = b"\0" if flexible else b""
    body = tags + _array(topics, flexible=flexible) + struct.pack(">i", 0) + tags
    return struct.pack(">ii", 4 + len(body), correlation) + body


def _topic(reader: _Reader, version: int, error: int) -> bytes:
    flexible = version >= FLEXIBLE
    if version >= TOPIC_IDS:
        name = reader.take(16)
    else:
        text = reader.text()
        name = (_varint(len(text) + 1) if flexible else struct.pack(">h", len(text))) + text
    partitions: list[bytes] = []
    for _ in range(reader.length(">i")):
        number = reader.number(">i")
        reader.take(reader.length(">i"))  # the records
        reader.tags()
        partitions.append(_partition(number, version, error))
    reader.tags()
    return name + _array(partitions, flexible=flexible) + (b"\0" if flexible else b"")


def _partition(number: int, version: int, error: int) -> bytes:
    answer = struct.pack(">ih", number, error) + _NONE
    if version >= LEADER_EPOCHS:
        answer += struct.pack(">q", -1)  # the first offset of the log
    if version >= FLEXIBLE:
        answer += b"\x01\0\0"  # no record's errors, no message, no tags
    elif version >= RECORD_ERRORS:
        answer += struct.pack(">ih", 0, -1)
    return answer


def _array(parts: list[bytes], *, flexible: bool) -> bytes:
    size = _varint(len(parts) + 1) if flexible else struct.pack(">i", len(parts))
    return size + b"".join(parts)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
