from __future__ import annotations

from pathlib import Path

import pytest

from penstock.events.jobs import Report
from penstock.events.workers import Settled
from penstock_services.runner import journal
from penstock_services.runner.journal import Entry, Journal


def entry(job_id: str, kind: str = "ended", **more: object) -> Entry:
    return Entry("p", Report(job_id, 1, "t", kind, **more))  # type: ignore[arg-type]


def settled(job_id: str, kind: str = "ended") -> Settled:
    return Settled(job_id, 1, kind, True)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_an_end_that_was_not_settled_is_there_for_the_next_process(path: Path) -> None:
    first = Journal(path)
    first.append([entry("a", exit_code=3, last_seq=7), entry("b")], 1.0)
    first.settle([settled("b")])
    # No close: the process was killed.
    assert Journal(path).leftovers == [entry("a", exit_code=3, last_seq=7)]


def test_who_told_it_to_wait_outlives_the_process(path: Path) -> None:
    limited = [("registry", 30.0), ("docker hub", 0.5)]
    Journal(path).append([entry("a", limited=limited)], 1.0)
    assert Journal(path).leftovers == [entry("a", limited=limited)]


@pytest.mark.parametrize("kind", ["started", "released"])
def test_only_ends_outlive_their_process(path: Path, kind: str) -> None:
    Journal(path).append([entry("a", kind)], 1.0)
    assert Journal(path).leftovers == []


def test_leftovers_are_due_at_once_and_again_until_settled(path: Path) -> None:
    Journal(path).append([entry("a")], 1.0)
    second = Journal(path)
    assert second.due(0.0, 5.0) == [entry("a")]
    assert second.due(4.9, 5.0) == []
    assert second.due(5.0, 5.0) == [entry("a")]
    second.settle([settled("a")])
    assert second.due(99.0, 5.0) == []
    assert Journal(path).leftovers == []


def test_an_end_takes_the_place_of_its_start(path: Path) -> None:
    it = Journal(path)
    it.append([entry("a", "started")], 1.0)
    it.append([entry("a", "ended")], 2.0)
    it.settle([settled("a", "started")])
    assert it.due(10.0, 5.0) == [entry("a", "ended")]
    assert len(it) == 1


def test_what_was_never_written_cannot_be_settled(path: Path) -> None:
    it = Journal(path)
    size = path.stat().st_size
    it.settle([settled("unknown")])
    assert path.stat().st_size == size


@pytest.mark.parametrize("torn", [b'{"entry":{"pipeline_id":"p","rep', b"\xff\xfe\n", b'{"entry":7}\n'])
def test_a_torn_or_foreign_line_is_skipped_and_later_ones_count(path: Path, torn: bytes) -> None:
    Journal(path).append([entry("a")], 1.0)
    with path.open("ab") as file:
        file.write(torn)
    second = Journal(path)
    assert second.leftovers == [entry("a")]
    second.append([entry("b")], 1.0)
    assert Journal(path).leftovers == [entry("a"), entry("b")]


def test_the_file_shrinks_when_what_it_holds_is_settled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMPACT_BYTES", 1000)
    it = Journal(path)
    it.append([entry("kept")], 1.0)
    for number in range(100):
        it.append([entry(f"job-{number}")], 1.0)
        it.settle([settled(f"job-{number}")])
    assert path.stat().st_size < 2000
    assert Journal(path).leftovers == [entry("kept")]


def test_a_full_disk_loses_no_line_that_fits_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = Journal(path)
    write = journal.os.write
    monkeypatch.setattr(journal.os, "write", lambda fd, text: write(fd, text[: len(text) // 2]))
    it.append([entry("cut")], 1.0)
    monkeypatch.setattr(journal.os, "write", write)
    it.append([entry("whole")], 1.0)
    assert [left.key for left in Journal(path).leftovers] == [("whole", 1)]
    assert {e.key for e in it.due(99.0, 5.0)} == {("cut", 1), ("whole", 1)}, "in memory both are kept"


def test_only_the_owner_may_read_it(path: Path) -> None:
    Journal(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Journal(tmp_path / "nowhere" / "journal")
