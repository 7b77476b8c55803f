from __future__ import annotations

import base64
import itertools

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.events.logs import MAX_FRAME_RAW_BYTES, Line
from penstock_services.runner import frames
from penstock_services.runner.frames import (
    MAX_LINE_BYTES,
    Frame,
    FrameCutter,
    LineSplitter,
    boundary,
    compress,
)

decode_lines = msgspec.json.Decoder(Line).decode_lines

text_like = st.lists(
    st.sampled_from(
        [b"a", b"\n", b"\r", b"\0", b"\xc3\xa9", b"\xc3", b"\xa9", b"\xff", b"\xf0\x9f\x98\x80", b" x "]
    )
).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def lines_of(packed: list[Frame]) -> list[Line]:
    lines = [line for frame in packed for line in decode_lines(frame.raw)]
    assert sum(frame.lines for frame in packed) == len(lines)
    return lines


def bytes_of(lines: list[Line]) -> bytes:
    return b"".join(
        (base64.b64decode(line.raw) if line.raw else line.text.encode()) + (b"" if line.part else b"\n")
        for line in lines
    )


def run(cutter: FrameCutter, stream: frames.Stream, chunks: list[bytes]) -> list[Frame]:
    packed = [frame for chunk in chunks for frame in cutter.feed(stream, chunk, 7)]
    return [*packed, *cutter.finish(8)]


@given(text_like, st.lists(st.integers(0, 1000)))
def test_chunks_do_not_matter_and_no_byte_is_lost(data: bytes, places: list[int]) -> None:
    whole = lines_of(run(FrameCutter(), "stdout", [data] if data else []))
    chunked = lines_of(run(FrameCutter(), "stdout", cut(data, places)))
    assert [(line.text, line.raw, line.part) for line in chunked] == [
        (line.text, line.raw, line.part) for line in whole
    ]
    assert bytes_of(chunked) == data
    assert [line.seq for line in chunked] == list(range(1, len(chunked) + 1))


@settings(max_examples=30)
@given(
    st.integers(MAX_LINE_BYTES - 3, 2 * MAX_LINE_BYTES + 3),
    st.sampled_from([b"x", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xa9"]),
    st.booleans(),
    st.lists(st.integers(0, 3 * MAX_LINE_BYTES), max_size=4),
)
def test_long_lines_are_cut_alike_whatever_the_chunks(
    length: int, unit: bytes, newline: bool, places: list[int]
) -> None:
    data = (unit * length)[:length] + (b"\nend\n" if newline else b"")
    whole, chunked = LineSplitter(), LineSplitter()
    expected = [*whole.feed(data), *whole.finish()]
    pieces = [piece for chunk in cut(data, places) for piece in chunked.feed(chunk)] + chunked.finish()
    plain = [(piece.encode(), False) if isinstance(piece, str) else piece for piece in pieces]
    assert plain == [(piece.encode(), False) if isinstance(piece, str) else piece for piece in expected]
    assert b"".join(text + (b"" if part else b"\n") for text, part in plain) == data
    assert all(len(text) <= MAX_LINE_BYTES for text, _part in plain)


def test_both_streams_share_one_sequence() -> None:
    cutter = FrameCutter()
    cutter.feed("stdout", b"one\ntw", 10)
    cutter.feed("stderr", b"two\n", 11)
    cutter.feed("stdout", b"o\n", 12)
    lines = lines_of(cutter.finish(13))
    assert [(line.seq, line.ts, line.stream, line.text) for line in lines] == [
        (1, 10, "stdout", "one"),
        (2, 11, "stderr", "two"),
        (3, 12, "stdout", "two"),
    ]


def test_a_last_line_without_newline_is_a_part() -> None:
    lines = lines_of(run(FrameCutter(), "stderr", [b"a\nb"]))
    assert [(line.text, line.part) for line in lines] == [("a", False), ("b", True)]


def test_carriage_returns_empty_lines_and_nul_are_kept() -> None:
    lines = lines_of(run(FrameCutter(), "stdout", [b"10%\r20%\r\n\na\0b\n"]))
    assert [line.text for line in lines] == ["10%\r20%\r", "", "a\0b"]
    assert [line.raw for line in lines] == [None, None, None]


def test_bytes_that_are_not_utf8_are_kept_beside_a_readable_text() -> None:
    (line,) = lines_of(run(FrameCutter(), "stdout", [b"caf\xe9\n"]))
    assert line.text == "caf\N{REPLACEMENT CHARACTER}"
    assert line.raw is not None
    assert base64.b64decode(line.raw) == b"caf\xe9"


def test_no_output_makes_no_frame() -> None:
    assert FrameCutter().finish(1) == []


def test_the_end_is_on_the_last_frame_or_alone_after_it() -> None:
    cutter = FrameCutter()
    cutter.feed("stdout", b"a\n", 5)
    assert cutter.waiting
    first = cutter.cut()
    assert (first.first_seq, first.lines, first.end) == (1, 1, False)
    (last,) = cutter.finish(9)
    assert (last.first_seq, last.lines, last.raw, last.end) == (2, 0, b"", True)
    assert (last.first_ts, last.last_ts) == (9, 9)


def test_frames_are_cut_by_size_and_join_without_gap() -> None:
    data = b"".join(b"line %d\n" % i for i in range(20_000))
    packed = run(FrameCutter(), "stdout", [data])
    assert all(len(frame.raw) <= 1.1 * frames.FRAME_BYTES for frame in packed)
    assert len(packed) > 10
    seq = 1
    for frame in packed:
        assert frame.first_seq == seq
        seq += frame.lines
    assert [frame.end for frame in packed] == [False] * (len(packed) - 1) + [True]
    assert bytes_of(lines_of(packed)) == data


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"x"])
def test_no_frame_exceeds_the_limit_whatever_escaping_does(byte: bytes) -> None:
    data = b"short\n" + byte * (MAX_LINE_BYTES - 1) + b"\nend\n"
    packed = run(FrameCutter(), "stdout", [data])
    assert all(len(frame.raw) <= MAX_FRAME_RAW_BYTES for frame in packed)
    assert bytes_of(lines_of(packed)) == data


def test_stamps_never_go_back() -> None:
    cutter = FrameCutter()
    cutter.feed("stdout", b"a\n", 20)
    cutter.feed("stdout", b"b\n", 10)
    assert [line.ts for line in lines_of(cutter.finish(15))] == [20, 20]


def test_compressed_frames_put_end_to_end_are_one_stream() -> None:
    whole = compress(b"a\n") + compress(b"") + compress(b"b\n")
    assert zstandard.frame_content_size(compress(b"abc")) == 3
    reader = zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True)
    assert reader.read() == b"a\nb\n"


def test_boundary_is_where_a_character_begins() -> None:
    assert boundary("aé€".encode(), 2) == 1
    assert boundary(b"ab", 1) == 1
    assert boundary(b"\x80" * 9, 6) == 6
