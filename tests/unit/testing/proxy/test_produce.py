"""The answer to a produce request in a broker's stead, by the protocol's definition of each version."""

from __future__ import annotations

import struct

import pytest

from penstock.testing.chaos.proxy.produce import refusal


def request(version: int, *, flexible: bool) -> bytes:
    """Two topics, of which the first has two partitions, with records of 200 and 3 bytes, and none."""
    client = struct.pack(">h", 3) + b"abc"
    if flexible:
        tagged = b"\x01\x05\x02xy"  # one tag: number 5, two bytes
        first = (bytes(16) if version >= 13 else b"\x03ab") + b"\x03"
        first += struct.pack(">i", 0) + b"\xc9\x01" + bytes(200) + b"\0"
        first += struct.pack(">i", 7) + b"\x04" + bytes(3) + tagged + b"\0"
        second = (
            (b"\1" * 16 if version >= 13 else b"\x02c") + b"\x02" + struct.pack(">i", 1) + b"\0\0" + b"\0"
        )
        body = tagged + b"\0" + struct.pack(">hi", -1, 1000) + b"\x03" + first + second + b"\0"
    else:
        first = struct.pack(">h", 2) + b"ab" + struct.pack(">i", 2)
        first += struct.pack(">ii", 0, 200) + bytes(200) + struct.pack(">ii", 7, 3) + bytes(3)
        second = struct.pack(">h", 1) + b"c" + struct.pack(">iii", 1, 1, -1)
        body = struct.pack(">hhi", -1, -1, 1000) + struct.pack(">i", 2) + first + second
    body = struct.pack(">hhi", 0, version, 77) + client + body
    return struct.pack(">i", len(body)) + body


def partition(number: int, version: int) -> bytes:
    """Its answer."""
    start = struct.pack(">ihqq", number, 6, -1, -1)
    if version >= 5:
        start += struct.pack(">q", -1)
    if version >= 9:
        return start + b"\x01\x00\x00"
    return start + (struct.pack(">ih", 0, -1) if version >= 8 else b"")


@pytest.mark.parametrize("version", range(3, 14))
def test_every_partition_is_refused(version: int) -> None:
    if version >= 9:
        names = (bytes(16), b"\1" * 16) if version >= 13 else (b"\x03ab", b"\x02c")
        body = b"\x03" + names[0] + b"\x03" + partition(0, version) + partition(7, version) + b"\0"
        body += names[1] + b"\x02" + partition(1, version) + b"\0"
        body = b"\0" + body + struct.pack(">i", 0) + b"\0"
    else:
        body = struct.pack(">i", 2) + struct.pack(">h", 2) + b"ab" + struct.pack(">i", 2)
        body += partition(0, version) + partition(7, version)
        body += struct.pack(">h", 1) + b"c" + struct.pack(">i", 1) + partition(1, version)
        body += struct.pack(">i", 0)
    answer = struct.pack(">ii", 4 + len(body), 77) + body
    assert refusal(request(version, flexible=version >= 9), 6) == answer


def test_a_version_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="produce version 2"):
        refusal(struct.pack(">ihhi", 8, 0, 2, 1), 6)
