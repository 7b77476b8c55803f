from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.events.logs import FrameHead
from penstock_services.runner import spool as spool_module
from penstock_services.runner.spool import Spool

JOB = "0190a5d0-0000-7000-8000-000000000001"
OTHER = "0190a5d0-0000-7000-8000-000000000002"
KEY = (JOB, 1)


def head(first_seq: int, lines: int = 10, *, end: bool = False, job: str = JOB) -> FrameHead:
    return FrameHead("default", job, 1, "s", first_seq, lines, 100, 1, 2, end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def test_frames_wait_in_order_and_are_read_back(folder: Path) -> None:
    spool = Spool(folder, 1000)
    spool.append(head(1), b"one")
    log = spool.append(head(11), b"three")
    assert [spool.read(frame) for frame in log.waiting(100)] == [b"one", b"three"]
    assert [frame.head.first_seq for frame in log.waiting(3)] == [1], "bounded by bytes"
    assert len(log.waiting(0)) == 1, "but never nothing"
    assert spool.bytes == 8


def test_what_was_sent_waits_no_more_but_is_kept(folder: Path) -> None:
    spool = Spool(folder, 1000)
    log = spool.append(head(1), b"one")
    spool.append(head(11), b"two")
    log.sent(log.waiting(3), 5.0)
    assert [frame.head.first_seq for frame in log.waiting(99)] == [11]
    log.sent(log.waiting(99), 6.0)
    assert log.waiting(99) == []
    log.send_again()
    assert [spool.read(frame) for frame in log.waiting(99)] == [b"one", b"two"], "now from the disk"


def test_stored_frames_are_freed_and_the_file_emptied(folder: Path) -> None:
    spool = Spool(folder, 1000)
    log = spool.append(head(1), b"one")
    spool.append(head(11, end=True), b"two")
    log.sent(log.waiting(99), 5.0)
    spool.free(KEY, 19)
    assert [frame.head.first_seq for frame in log.frames] == [11]
    assert spool.bytes == 3
    spool.free(KEY, 20)
    assert spool.logs == {}
    assert spool.bytes == 0
    assert sizes(folder) == {"00000001.spool": 0}
    spool.free(KEY, 20)
    spool.append(head(21), b"three")
    assert [spool.read(frame) for frame in spool.logs[KEY].frames] == [b"three"]


def test_an_end_without_lines_is_believed_stored_only_after_it_was_sent(folder: Path) -> None:
    spool = Spool(folder, 1000)
    log = spool.append(head(1), b"one")
    spool.append(head(11, 0, end=True), b"")
    log.sent(log.waiting(0), 5.0)
    spool.free(KEY, 10)
    assert [frame.head.end for frame in log.frames] == [True]
    log.sent(log.waiting(99), 6.0)
    spool.free(KEY, 10)
    assert spool.logs == {}


def test_frames_stored_while_others_are_in_flight_do_not_confuse_the_order(folder: Path) -> None:
    spool = Spool(folder, 1000)
    for first in (1, 11, 21):
        log = spool.append(head(first), b"x")
    flying = log.waiting(2)
    spool.free(KEY, 10)
    log.sent(flying, 5.0)
    assert [frame.head.first_seq for frame in log.waiting(99)] == [21]
    again = log.waiting(99)
    spool.free(KEY, 30)
    log.sent(again, 6.0)
    assert log.waiting(99) == []
    assert log.kept == 0


def test_a_segment_is_removed_when_all_of_it_is_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    spool = Spool(folder, 1000)
    for first in (1, 11, 21):
        spool.append(head(first), b"x" * 999)
    assert len(sizes(folder)) == 3
    spool.free(KEY, 20)
    assert [*sizes(folder)] == ["00000003.spool"]
    spool.append(head(31), b"y" * 999)
    assert [*sizes(folder)] == ["00000003.spool", "00000004.spool"]


def test_a_slow_log_does_not_hold_the_space_of_fast_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 10_000)
    spool = Spool(folder, 10**9)
    for turn in range(50):
        spool.append(head(turn + 1, 1, job=OTHER), b"slow %d" % turn)
        spool.append(head(turn + 1, 1), b"x" * 5_000)
        spool.free(KEY, turn)
    assert sum(sizes(folder).values()) < 100_000
    slow = spool.logs[OTHER, 1]
    assert [spool.read(frame) for frame in slow.frames] == [b"slow %d" % turn for turn in range(50)]
    slow.sent(slow.waiting(9999), 1.0)
    assert [spool.read(frame) for frame in slow.frames] == [b"slow %d" % turn for turn in range(50)]
    recovered = Spool(folder, 10**9)
    again = recovered.logs[OTHER, 1]
    assert [recovered.read(frame) for frame in again.frames] == [b"slow %d" % turn for turn in range(50)]


def test_a_frame_moved_twice_by_a_crash_counts_once(folder: Path) -> None:
    Spool(folder, 1000).append(head(1), b"one")
    path = folder / "00000001.spool"
    (folder / "00000002.spool").write_bytes(path.read_bytes())
    spool = Spool(folder, 1000)
    assert len(spool.logs[KEY].frames) == 1
    assert spool.bytes == 3
    assert [*sizes(folder)] == ["00000001.spool"]


def test_the_next_process_finds_what_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    first = Spool(folder, 1000)
    first.append(head(1), b"one")
    first.append(head(11, end=True), b"two")
    first.close()
    second = Spool(folder, 1000)
    log = second.logs[KEY]
    assert [(frame.head, second.read(frame)) for frame in log.waiting(99)] == [
        (head(1), b"one"),
        (head(11, end=True), b"two"),
    ]
    assert second.bytes == 6
    second.free(KEY, 20)
    assert sizes(folder) == {}


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_frame_cut_off_by_a_crash_is_left_out(folder: Path, cut: int) -> None:
    first = Spool(folder, 1000)
    first.append(head(1), b"one")
    first.append(head(11), b"two")
    path = folder / "00000001.spool"
    path.write_bytes(path.read_bytes()[:-cut])
    second = Spool(folder, 1000)
    assert [frame.head.first_seq for frame in second.logs[KEY].frames] == [1]
    second.free(KEY, 10)
    assert second.logs == {}, "there will be no end: the log is over with what there was"
    assert sizes(folder) == {}


def test_nothing_is_appended_to_what_a_dead_process_left(folder: Path) -> None:
    Spool(folder, 1000).append(head(1), b"one" * 99)
    before = sizes(folder)["00000001.spool"]
    second = Spool(folder, 1000)
    second.append(head(11), b"two")
    assert sizes(folder)["00000001.spool"] == before
    assert [frame.head.first_seq for frame in Spool(folder, 1000).logs[KEY].frames] == [1, 11]


def test_damaged_and_foreign_files_do_no_harm(folder: Path) -> None:
    folder.mkdir()
    (folder / "00000001.spool").write_bytes(b"\0\0\0\4\0\0\0\1nope!")
    (folder / "00000002.spool").write_bytes(b"")
    (folder / "README").write_text("mine")
    assert Spool(folder, 1000).logs == {}
    assert sizes(folder) == {"README": 4}


def test_a_full_disk_is_told_and_harms_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(folder, 1000)
    spool.append(head(1), b"one")
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, place: write(fd, data[:5], place))
    with pytest.raises(OSError, match="No space left"):
        spool.append(head(11), b"two")
    monkeypatch.setattr(os, "pwrite", write)
    spool.append(head(11), b"three")
    assert [spool.read(frame) for frame in Spool(folder, 1000).logs[KEY].frames] == [b"one", b"three"]


def test_full_at_its_bound_and_not_after_freeing(folder: Path) -> None:
    spool = Spool(folder, 4)
    spool.append(head(1), b"one")
    assert not spool.full
    spool.append(head(11), b"two")
    assert spool.full
    spool.free(KEY, 10)
    assert not spool.full


def test_memory_is_bounded_the_disk_has_the_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "KEPT_BYTES", 4)
    spool = Spool(folder, 1000)
    for first in (1, 11, 21):
        log = spool.append(head(first), b"abc")
    assert [frame.payload for frame in log.frames] == [b"abc", b"abc", None]
    assert [spool.read(frame) for frame in log.frames] == [b"abc"] * 3
    log.sent(log.waiting(99), 1.0)
    assert log.kept == 0
    spool.append(head(31), b"def")
    assert log.frames[-1].payload == b"def"
