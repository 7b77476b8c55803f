from __future__ import annotations

from pathlib import Path

import pytest

from penstock.events.logs import FrameHead
from penstock_services.runner import spool as spool_module
from penstock_services.runner.spool import Spool

JOB = "0190a5d0-0000-7000-8000-000000000001"
KEY = (JOB, 1)


def head(first_seq: int, lines: int = 10, *, end: bool = False) -> FrameHead:
    return FrameHead("default", JOB, 1, "s", first_seq, lines, 100, 1, 2, end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


def test_stored_frames_are_freed_and_the_files_of_a_whole_log_removed(folder: Path) -> None:
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
    assert files(folder) == []
    spool.free(KEY, 20)


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
        spool.append(head(first), b"x")
    assert files(folder) == [f"{JOB}.1.00000{n}" for n in (1, 2, 3)]
    spool.free(KEY, 20)
    assert files(folder) == [f"{JOB}.1.000003"]
    spool.append(head(31), b"y")
    assert files(folder) == [f"{JOB}.1.000003", f"{JOB}.1.000004"]


def test_the_next_process_finds_what_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    first = Spool(folder, 1000)
    first.append(head(1), b"one")
    first.append(head(11, end=True), b"two")
    second = Spool(folder, 1000)
    log = second.logs[KEY]
    assert [(frame.head, second.read(frame)) for frame in log.waiting(99)] == [
        (head(1), b"one"),
        (head(11, end=True), b"two"),
    ]
    assert second.bytes == 6
    second.free(KEY, 20)
    assert files(folder) == []


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_frame_cut_off_by_a_crash_is_left_out(folder: Path, cut: int) -> None:
    first = Spool(folder, 1000)
    first.append(head(1), b"one")
    first.append(head(11), b"two")
    path = folder / f"{JOB}.1.000001"
    path.write_bytes(path.read_bytes()[:-cut])
    second = Spool(folder, 1000)
    assert [frame.head.first_seq for frame in second.logs[KEY].frames] == [1]
    second.free(KEY, 10)
    assert files(folder) == [], "there will be no end: the log is over with what there was"


def test_nothing_is_appended_to_what_a_dead_process_left(folder: Path) -> None:
    Spool(folder, 1000).append(head(1), b"one")
    second = Spool(folder, 1000)
    second.append(head(11), b"two")
    assert files(folder) == [f"{JOB}.1.000001", f"{JOB}.1.000002"]


def test_damaged_and_foreign_files_do_no_harm(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{JOB}.1.000001").write_bytes(b"\0\0\0\4\0\0\0\1nope!")
    (folder / f"{JOB}.2.000001").write_bytes(b"")
    (folder / "README").write_text("mine")
    assert Spool(folder, 1000).logs == {}
    assert files(folder) == ["README"]


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


def test_a_name_that_leads_elsewhere_is_refused(folder: Path) -> None:
    bad = FrameHead("default", "../../x", 1, "s", 1, 1, 1, 1, 1)
    with pytest.raises(AssertionError, match="not a job id"):
        Spool(folder, 1000).append(bad, b"x")
