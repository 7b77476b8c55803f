"""Stored lines by one cursor, and how a log ends."""

from __future__ import annotations

import msgspec
import pytest
import zstandard

from penstock.core.errors import DeadLetter, RetryLater
from penstock.logs import reading
from penstock.logs.frames import compress, decompress, decompress_untrusted, skip_lines
from penstock.logs.reading import Piece, closed_end, end_of, stored_lines
from penstock.objects.memory import MemoryObjects
from penstock.objects.ports import ObjectMissing
from penstock.store.logs import Chunk, LogState
from penstock.testing.log_frames import log_lines

JOB = "01890000-0000-7000-8000-000000000001"


class Shelf:
    """Chunks of one log in a bucket, and what was asked of it."""

    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self.chunks: list[Chunk] = []
        self.pages = 0

    def put(self, *spans: tuple[int, int]) -> None:
        """One chunk of these frames."""
        frames = [compress(log_lines(first, last)) for first, last in spans]
        data = b"".join(frames)
        places = [(sum(map(len, frames[:at])), first) for at, (first, _) in enumerate(spans)]
        first, last = spans[0][0], spans[-1][1]
        self.objects.put(f"chunk-{first}", data, content_type="")
        self.chunks.append(
            Chunk(
                first_seq=first, last_seq=last, object_key=f"chunk-{first}", bytes=len(data), raw_bytes=0,
                first_ts=0, last_ts=0, frames=places, cluster_id="", next_offset=0,
            )
        )  # fmt: skip

    def page(self, seq: int) -> list[Chunk]:
        """Two chunks at a time."""
        self.pages += 1
        return [chunk for chunk in self.chunks if chunk.last_seq >= seq][:2]

    def read(self, seq: int, *, over_gaps: bool = False) -> list[Piece]:
        return list(stored_lines(self.objects, self.page, seq, over_gaps=over_gaps))


@pytest.fixture
def shelf() -> Shelf:
    found = Shelf()
    found.put((1, 4), (5, 9))
    found.put((10, 12))
    found.put((13, 13), (14, 20), (21, 22))
    return found


@pytest.mark.parametrize("span", [1, 150, 10**6])
@pytest.mark.parametrize("seq", [1, 2, 4, 5, 9, 10, 13, 14, 18, 22, 23])
def test_from_any_line_to_the_last(
    shelf: Shelf, seq: int, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", span)
    pieces = shelf.read(seq)
    assert b"".join(piece.lines for piece in pieces) == log_lines(seq, 22)
    for piece in pieces:
        last = piece.lines.rstrip(b"\n").rpartition(b"\n")[2]
        assert msgspec.json.decode(last)["seq"] + 1 == piece.next_seq


def test_a_gap_ends_it_unless_it_may_be_left_out(shelf: Shelf) -> None:
    shelf.put((25, 26))
    assert shelf.read(1)[-1].next_seq == 23
    assert shelf.read(23) == []
    assert shelf.read(23, over_gaps=True) == [Piece(27, log_lines(25, 26))]


def test_what_is_missing_or_away_is_told(shelf: Shelf) -> None:
    shelf.objects.delete("chunk-10")
    with pytest.raises(ObjectMissing, match="chunk-10"):
        shelf.read(1)
    shelf.objects.away = True
    with pytest.raises(RetryLater):
        shelf.read(1)


def state(**fields: object) -> LogState:
    return LogState(JOB, 1, **fields)  # type: ignore[arg-type]


ENDED = {"state": "SUCCESS", "ended_seconds": 10.0}


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, None),
        ({"lines": 3, "last_seq": 3, "closed": False}, None),
        ({"lines": 3, "last_seq": 3, "closed": False, **ENDED, "reported_seq": 3}, None),
        # Closed, but nobody knows yet what the attempt ended as.
        ({"lines": 3, "last_seq": 3, "end_seq": 3, "closed": True}, None),
        ({"lines": 3, "last_seq": 3, "end_seq": 3, "closed": True, **ENDED}, {"last_seq": 3}),
        (
            {"lines": 3, "last_seq": 5, "end_seq": 9, "closed": True, **ENDED},
            {"last_seq": 5, "incomplete": True, "missing": 6},
        ),
        (
            {"lines": 3, "last_seq": 5, "closed": True, **ENDED},
            {"last_seq": 5, "incomplete": True, "missing": 2},
        ),
        ({"lines": 3, "last_seq": 3, "closed": True, **ENDED}, {"last_seq": 3, "incomplete": True}),
        ({**ENDED, "reported_seq": 0}, {"last_seq": 0}),
        ({**ENDED, "reported_seq": 4}, None),
        ({**ENDED}, None),
        (
            {**ENDED, "ended_seconds": 61.0, "reported_seq": 4},
            {"last_seq": 0, "incomplete": True, "missing": 4},
        ),
        ({**ENDED, "ended_seconds": 61.0}, {"last_seq": 0, "incomplete": True}),
    ],
)
def test_how_a_log_ends(fields: dict[str, object], end: dict[str, object] | None) -> None:
    found = end_of(state(**fields), 60)
    expected = None if end is None else {"end": True, **end, "state": "SUCCESS"}
    assert (None if found is None else msgspec.to_builtins(found)) == expected


def test_a_closed_log_ends_also_without_a_state() -> None:
    found = closed_end(state(lines=3, last_seq=3, end_seq=3, closed=True))
    assert msgspec.json.encode(found) == b'{"end":true,"last_seq":3}'


def test_lines_are_skipped() -> None:
    assert [skip_lines(b"a\nb\nc\n", count) for count in range(4)] == [b"a\nb\nc\n", b"b\nc\n", b"c\n", b""]


def test_frames_survive_compression() -> None:
    assert decompress(compress(b"x\n" * 1000)) == b"x\n" * 1000
    assert decompress_untrusted(compress(b"x\n" * 1000), 2000) == b"x\n" * 1000


@pytest.mark.parametrize(
    ("frame", "raw_bytes"),
    [
        (b"", 1),
        (b"plain", 5),
        (compress(b"abc"), 4),
        (compress(b"abc"), 2),
        (compress(b"abc") + b"more", 3),
        (compress(b"abc") * 2, 6),
        (compress(b"abc")[:-1], 3),
        (zstandard.ZstdCompressor(write_content_size=False).compress(b"abc"), 2),
        (zstandard.ZstdCompressor(write_content_size=False).compress(b"abc"), 4),
    ],
)
def test_a_frame_that_is_not_what_it_says_is_refused(frame: bytes, raw_bytes: int) -> None:
    with pytest.raises(DeadLetter):
        decompress_untrusted(frame, raw_bytes)
