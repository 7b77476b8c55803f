"""Frames are checked against their headers, cut down, and packed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import zstandard

from penstock.core.errors import DeadLetter
from penstock.events.logs import MAX_FRAME_RAW_BYTES
from penstock.kafka.records import Outgoing, Record
from penstock.testing.log_frames import SESSION, as_read, frame, log_line, log_lines
from penstock_services.logs.frames import pack, part_of, read_frame

JOB = "01890000-0000-7000-8000-000000000001"


def changed(outgoing: Outgoing, **headers: object) -> Record:
    """The frame with other headers."""
    kept = dict(outgoing.headers)
    kept.update({f"penstock-{name}": str(value).encode() for name, value in headers.items()})
    return as_read(outgoing._replace(headers=list(kept.items())), 0)


def test_a_good_frame() -> None:
    found = read_frame(as_read(frame(JOB, 3, 7, end=True), 12, partition=4), 1.5)
    assert (found.key, found.first_seq, found.last_seq, found.end) == ((JOB, 1), 3, 7, True)
    assert (found.partition, found.offset, found.at, found.session_id) == (4, 12, 1.5, SESSION)
    assert found.lines() == log_lines(3, 7)
    assert found.raw_bytes == len(log_lines(3, 7))


@pytest.mark.parametrize("value", [None, b"", zstandard.compress(b"")])
def test_an_end_without_lines_needs_no_value(value: bytes | None) -> None:
    record = as_read(frame(JOB, 8, 7, end=True), 0)._replace(value=value)
    found = read_frame(record, 0)
    assert (found.first_seq, found.last_seq, found.lines()) == (8, 7, b"")


GOOD = frame(JOB, 3, 7)
BAD: dict[str, Callable[[], Record]] = {
    "no headers": lambda: as_read(GOOD, 0)._replace(headers=None),
    "job of another form": lambda: changed(frame("job-1", 1, 1)),
    "job that is no UUIDv7": lambda: changed(frame("01890000-0000-4000-8000-000000000001", 1, 1)),
    "another job in the key": lambda: as_read(GOOD, 0)._replace(key=b"x"),
    "tenant with a path": lambda: changed(GOOD, tenant="../etc"),
    "attempt too large": lambda: changed(GOOD, attempt=2**31),
    "attempt 0": lambda: changed(GOOD, attempt=0),
    "number too large": lambda: changed(GOOD, first_seq=2**60),
    "times backwards": lambda: changed(GOOD, first_ts=2, last_ts=1),
    "nothing and no end": lambda: as_read(frame(JOB, 8, 7), 0),
    "fewer lines": lambda: changed(GOOD, lines=6),
    "more lines": lambda: changed(GOOD, lines=4),
    "other numbers": lambda: changed(GOOD, first_seq=4),
    "other last number": lambda: as_read(
        frame(JOB, 1, 2, lines=log_line(1) + log_line(3)), 0
    ),
    "no newline at the end": lambda: as_read(frame(JOB, 1, 2, lines=log_line(1) + log_line(2)[:-1]), 0),
    "not a line": lambda: as_read(frame(JOB, 1, 1, lines=b"{}\n"), 0),
    "not UTF-8": lambda: as_read(frame(JOB, 1, 1, lines=log_line(1).replace(b"line", b"\xff")), 0),
    "smaller inside": lambda: changed(GOOD, raw_bytes=10_000),
    "larger inside": lambda: changed(GOOD, raw_bytes=10),
    "over the limit": lambda: changed(GOOD, raw_bytes=MAX_FRAME_RAW_BYTES + 1),
    "no value": lambda: as_read(GOOD, 0)._replace(value=None),
    "not zstd": lambda: as_read(GOOD, 0)._replace(value=b"plain"),
    "cut off": lambda: as_read(GOOD, 0)._replace(value=(GOOD.value or b"")[:-4]),
    "two frames": lambda: as_read(GOOD, 0)._replace(value=(GOOD.value or b"") * 2),
}  # fmt: skip


@pytest.mark.parametrize("record", BAD.values(), ids=BAD.keys())
def test_a_bad_frame_is_a_dead_letter(record: Callable[[], Record]) -> None:
    with pytest.raises(DeadLetter, match="log frame"):
        read_frame(record(), 0)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(b"\n" * 50_000_000)
    record = changed(GOOD, raw_bytes=1000, lines=1000)._replace(value=bomb)
    with pytest.raises(DeadLetter, match="not a zstd frame of 1000 bytes"):
        read_frame(record, 0)


def test_a_part_has_its_lines() -> None:
    whole = read_frame(as_read(frame(JOB, 3, 7), 12), 0)
    assert part_of(whole, 3, 7) is whole
    part = part_of(whole, 4, 6)
    assert part.lines() == log_lines(4, 6)
    assert (part.raw_bytes, part.offset) == (len(log_lines(4, 6)), 12)


def test_small_neighbours_are_packed_together_and_large_ones_kept() -> None:
    large = b"".join(log_line(seq, "x" * 600) for seq in range(4, 104))
    frames = [
        read_frame(as_read(outgoing, 0), 0)
        for outgoing in (
            frame(JOB, 1, 2), frame(JOB, 3, 3), frame(JOB, 4, 103, lines=large), frame(JOB, 104, 104),
        )
    ]  # fmt: skip
    data, places = pack(frames)
    assert [first for _, first in places] == [1, 4, 104]
    begins = [offset for offset, _ in places]
    assert data[begins[1] : begins[2]] == frames[2].data
    reader = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    assert reader.decompress(data) == log_lines(1, 3) + large + log_line(104)
