"""Streams cut into frames, however they come."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

from penstock.testing.chaos.proxy.framing import Framing, LengthFraming
from penstock.testing.chaos.proxy.http import HttpFraming


def cuts(data: bytes, seed: int) -> Iterator[memoryview]:
    """The same bytes in parts of any sizes, in a buffer that is used again."""
    rng = random.Random(seed)
    largest = rng.choice((1, 3, 20, 200, 100_000))
    buffer = bytearray(100_000)
    at = 0
    while at < len(data):
        size = min(rng.randint(1, largest), len(data) - at)
        buffer[:size] = data[at : at + size]
        yield memoryview(buffer)[:size]
        at += size


def frames(framing: Framing, data: bytes, seed: int) -> list[tuple[bytes, bytes]]:
    """Head and whole of every frame that ended."""
    found: list[tuple[bytes, bytes]] = []
    head, whole, ended = b"", b"", True
    for chunk in cuts(data, seed):
        for began, part, last in framing.feed(chunk):
            if began is not None:
                assert ended
                head, whole = began, b""
            else:
                assert not ended
            whole += bytes(part)
            ended = last
            if last:
                found.append((head, whole))
    return found


def kafka(size: int) -> bytes:
    """A frame of so many bytes behind its length."""
    return struct.pack(">i", size) + random.Random(size).randbytes(size)


@pytest.mark.parametrize("seed", range(40))
def test_frames_with_their_length_first(seed: int) -> None:
    whole = [kafka(size) for size in (8, 4, 0x1000, 4, 0x4000, 77)]
    framing = LengthFraming(8, lambda head: 4 + int.from_bytes(head[:4]))
    assert frames(framing, b"".join(whole), seed) == [(frame[:8], frame) for frame in whole]


def test_the_framing_may_change_with_a_frame() -> None:
    framing = LengthFraming(8, lambda head: int.from_bytes(head[:4]))
    data = struct.pack(">ii", 10, 196608) + b"ab" + b"Q" + struct.pack(">i", 7) + b"abc"
    found: list[bytes] = []
    for n in range(len(data)):
        for head, _, _ in framing.feed(memoryview(data)[n : n + 1]):
            if head is not None:
                found.append(head)
                framing.head, framing.size = 5, lambda head: 1 + int.from_bytes(head[1:5])
    assert found == [data[:8], data[10:15]]


HTTP = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    (b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n", b"12345"),
    (
        b"PUT /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"5;x=y\r\nab\r\nc\r\nA\r\n0123456789\r\n0\r\n\r\n",
    ),
    (b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nx-sum: 1\r\ny: 2\r\n\r\n"),
    (b"PUT /d HTTP/1.1\r\nContent-Length: 7000\r\n\r\n", b"\r\n\r\n" * 1_750),
    (b"HEAD /a HTTP/1.1\r\n\r\n", b""),
]


@pytest.mark.parametrize("seed", range(40))
def test_messages_of_http(seed: int) -> None:
    data = b"".join(head + body for head, body in HTTP)
    expected = [(head, head + body) for head, body in HTTP]
    assert frames(HttpFraming(lambda _: True), data, seed) == expected


def test_an_answer_without_a_body_and_one_that_ends_with_its_connection() -> None:
    framing = HttpFraming(lambda head: b"304" not in head)
    first = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n"
    second = b"HTTP/1.1 200 OK\r\n\r\n"
    pieces = list(framing.feed(memoryview(first + second + b"more")))
    assert [(head, last) for head, _, last in pieces] == [(first, True), (second, False), (None, False)]
