"""What is kept, for how long, and which offsets it holds back."""

from __future__ import annotations

import pytest

from penstock.core.errors import DeadLetter
from penstock.events.workers import Stored
from penstock.store.logs import Head
from penstock.testing.log_frames import SESSION, as_read, frame, log_lines
from penstock_services.logs.buffers import Cut
from penstock_services.logs.decide import Limits
from penstock_services.logs.frames import FRAME_OVERHEAD, read_frame
from penstock_services.logs.memory import COMPLETE_SECONDS, IDLE_SECONDS, Answer, Memory

JOB = "01890000-0000-7000-8000-000000000001"
OTHER = "01890000-0000-7000-8000-000000000002"
THIRD = "01890000-0000-7000-8000-000000000003"
KEY = (JOB, 1)


class Reader:
    """Reads frames into a memory, each at the next offset of its partition."""

    def __init__(self, limits: Limits | None = None, bound: int = 1024 * 1024) -> None:
        self.memory = Memory(limits or Limits(100_000, 10, 30), bound)
        self.memory.assign([0, 1])
        self.offsets = [0, 0]

    def read(
        self,
        first: int,
        last: int,
        *,
        job: str = JOB,
        at: float = 0.0,
        partition: int = 0,
        end: bool = False,
        session_id: str = SESSION,
    ) -> Answer | None:
        record = as_read(
            frame(job, first, last, end=end, session_id=session_id), self.offsets[partition], partition
        )
        self.offsets[partition] += 1
        assert self.memory.read(record)
        return self.memory.take(read_frame(record, at))

    def know(self, head: Head | None = None, job: str = JOB) -> list[Answer]:
        return self.memory.know({(job, 1): head or Head()})

    def done(self) -> list[int | None]:
        done = self.memory.done("t")
        return [done.get(("t", 0)), done.get(("t", 1))]


def spans(cut: Cut) -> list[tuple[int, int]]:
    return [(group[0].first_seq, group[-1].last_seq) for group in cut.groups]


def test_nothing_is_stored_before_the_index_was_asked() -> None:
    reader = Reader()
    reader.read(1, 5, end=True)
    assert reader.memory.unknown() == [KEY]
    assert reader.memory.unknown() == []
    assert reader.memory.cuts(100, 8) == []
    reader.know()
    assert [spans(cut) for cut in reader.memory.cuts(100, 8)] == [[(1, 5)]]


def test_offsets_are_held_back_by_what_is_not_stored() -> None:
    reader = Reader()
    assert reader.done() == [None, None]
    reader.read(1, 5)
    reader.read(1, 9, job=OTHER, end=True)
    reader.read(1, 1, job=THIRD, partition=1)
    for job in (JOB, OTHER, THIRD):
        reader.know(job=job)
    assert reader.done() == [0, 0]
    (cut,) = reader.memory.cuts(0, 8)
    reader.memory.stored(cut, cut.after(), won=True)
    assert reader.done() == [0, 0]
    assert not reader.memory.empty
    for cut in reader.memory.cuts(10, 8):
        reader.memory.stored(cut, cut.after(), won=True)
    assert reader.done() == [2, 1]
    assert reader.memory.empty


def test_a_log_is_stored_in_order_one_cut_at_a_time() -> None:
    reader = Reader()
    reader.know()
    reader.read(1, 5)
    reader.know()
    (first,) = reader.memory.cuts(10, 8)
    reader.read(6, 7, at=5)
    assert reader.memory.cuts(20, 8) == []
    reader.memory.stored(first, first.after(), won=True)
    (second,) = reader.memory.cuts(20, 8)
    assert spans(second) == [(6, 7)]
    assert second.head.lines == 5


def test_the_room_for_cuts_is_kept_and_the_rest_comes_later() -> None:
    reader = Reader()
    for job in (JOB, OTHER):
        reader.read(1, 1, job=job, end=True)
        reader.know(job=job)
    assert [cut.key[0] for cut in reader.memory.cuts(0, 1)] == [JOB]
    assert reader.memory.cuts(0, 0) == []
    assert [cut.key[0] for cut in reader.memory.cuts(0, 1)] == [OTHER]


def test_repeated_frames_are_answered_with_what_is_stored() -> None:
    reader = Reader()
    assert reader.read(1, 5) is None
    assert reader.know(Head(5, 5)) == [Answer(SESSION, Stored(JOB, 1, 5))]
    assert reader.read(1, 5, session_id="newer") == Answer("newer", Stored(JOB, 1, 5))
    assert reader.done() == [2, None]
    assert reader.memory.empty


def test_a_frame_is_cut_down_to_what_is_missing() -> None:
    reader = Reader()
    reader.read(1, 5)
    reader.read(4, 9)
    reader.know(Head(3, 3))
    view = reader.memory.view(KEY, 1)
    assert view is not None
    assert [frame.lines() for frame in view.frames] == []
    view = reader.memory.view(KEY, 4)
    assert view is not None
    assert b"".join(frame.lines() for frame in view.frames) == log_lines(4, 9)


def test_a_repeat_of_what_waits_is_no_news() -> None:
    reader = Reader()
    reader.read(1, 5)
    reader.know()
    assert reader.read(1, 5) is None
    assert reader.done() == [0, None]
    (cut,) = reader.memory.cuts(10, 8)
    reader.memory.stored(cut, cut.after(), won=True)
    assert reader.done() == [2, None]


def test_answers_never_promise_more_than_is_stored() -> None:
    reader = Reader()
    reader.read(1, 2)
    reader.read(6, 9)
    reader.know()
    (cut,) = reader.memory.cuts(31, 8)
    assert spans(cut) == [(1, 2), (6, 9)]
    assert reader.memory.stored(cut, cut.after(), won=True) == [Answer(SESSION, Stored(JOB, 1, 2))]
    assert reader.read(6, 9) is None
    reader.read(3, 5, at=31)
    (cut,) = reader.memory.cuts(41, 8)
    assert reader.memory.stored(cut, cut.after(), won=True) == [Answer(SESSION, Stored(JOB, 1, 9))]


def test_the_end_alone_is_kept_until_it_is_indexed() -> None:
    reader = Reader()
    reader.read(1, 3)
    reader.know()
    (cut,) = reader.memory.cuts(10, 8)
    reader.memory.stored(cut, cut.after(), won=True)
    assert reader.read(4, 3, end=True) is None
    assert reader.done() == [1, None]
    (cut,) = reader.memory.cuts(10, 8)
    assert (cut.groups, cut.end_seq) == ([], 3)
    assert reader.memory.stored(cut, cut.after(), won=True) == [Answer(SESSION, Stored(JOB, 1, 3))]
    assert reader.done() == [2, None]
    assert reader.read(4, 3, end=True) == Answer(SESSION, Stored(JOB, 1, 3))
    assert reader.memory.cuts(99, 8) == []


def test_lines_behind_the_end_are_dead() -> None:
    reader = Reader()
    reader.read(1, 3, end=True)
    with pytest.raises(DeadLetter, match="line 4 of a log that ended with 3"):
        reader.read(4, 4)


def test_who_lost_the_race_learns_what_is_stored() -> None:
    reader = Reader()
    reader.read(1, 5)
    reader.know()
    (cut,) = reader.memory.cuts(10, 8)
    assert reader.memory.stored(cut, Head(3, 3), won=False) == []
    (cut,) = reader.memory.cuts(10, 8)
    assert (spans(cut), cut.head.lines) == ([(4, 5)], 3)
    assert reader.memory.stored(cut, Head(9, 9), won=False) == [Answer(SESSION, Stored(JOB, 1, 9))]
    assert reader.memory.empty


def test_a_revoked_partition_takes_everything_with_it() -> None:
    reader = Reader()
    reader.read(1, 5)
    reader.read(1, 5, job=OTHER, partition=1)
    reader.know()
    (cut,) = reader.memory.cuts(10, 8)
    assert reader.memory.revoke([0]) == [KEY]
    assert reader.memory.partitions() == [1]
    assert reader.done() == [None, 0]
    assert reader.memory.view(KEY, 1) is None
    assert not reader.memory.read(as_read(frame(JOB, 1, 5), 0))
    assert reader.memory.stored(cut, cut.after(), won=True) == []


def test_a_cut_from_before_a_partition_went_and_came_back_changes_nothing() -> None:
    reader = Reader()
    reader.read(1, 5)
    reader.know()
    (cut,) = reader.memory.cuts(10, 8)
    reader.memory.revoke([0])
    reader.memory.assign([0])
    reader.offsets = [0, 0]
    reader.read(1, 5)
    assert reader.memory.stored(cut, cut.after(), won=True) == []
    reader.know()
    (again,) = reader.memory.cuts(10, 8)
    assert reader.memory.stored(cut, cut.after(), won=True) == []
    assert reader.done() == [0, None]
    assert reader.memory.stored(again, cut.after(), won=False) == [Answer(SESSION, Stored(JOB, 1, 5))]
    assert reader.done() == [1, None]


def test_when_memory_is_short_the_oldest_goes_first() -> None:
    size = FRAME_OVERHEAD + len(frame(JOB, 1, 1).value or b"")
    reader = Reader(bound=size * 5)
    for at, job, first in ((0, OTHER, 1), (0, OTHER, 3), (0, OTHER, 5), (1, JOB, 1), (1, JOB, 3)):
        reader.read(first, first, job=job, at=at)
    for job in (JOB, OTHER):
        reader.know(job=job)
    assert reader.memory.full
    (cut,) = reader.memory.cuts(1, 8)
    assert (cut.key[0], spans(cut)) == (OTHER, [(1, 1), (3, 3), (5, 5)])
    reader.memory.stored(cut, cut.after(), won=True)
    assert not reader.memory.full


def test_draining_takes_all_but_what_lies_behind_a_gap() -> None:
    reader = Reader()
    reader.read(1, 2)
    reader.read(4, 5)
    reader.know()
    (cut,) = reader.memory.drain(0, 8)
    assert spans(cut) == [(1, 2)]
    reader.memory.stored(cut, cut.after(), won=True)
    assert reader.memory.drain(0, 8) == []
    assert reader.done() == [1, None]


def test_what_can_never_be_stored_leaves() -> None:
    reader = Reader()
    reader.read(1, 2)
    reader.know()
    (cut,) = reader.memory.cuts(10, 8)
    assert reader.memory.refused(cut)
    assert reader.memory.empty
    assert reader.done() == [1, None]
    assert not reader.memory.refused(cut)


def test_logs_of_which_nothing_comes_are_forgotten() -> None:
    reader = Reader()
    reader.read(1, 2, end=True)
    reader.read(1, 2, job=OTHER)
    for job in (JOB, OTHER):
        reader.know(job=job)
    for cut in reader.memory.cuts(10, 8):
        reader.memory.stored(cut, cut.after(), won=True)
    reader.memory.forget_idle(COMPLETE_SECONDS + 1)
    assert reader.memory.view(KEY, 1) is None
    assert reader.memory.view((OTHER, 1), 1) is not None
    reader.memory.forget_idle(IDLE_SECONDS + 1)
    assert reader.memory.view((OTHER, 1), 1) is None
    reader.read(3, 4, job=OTHER, at=900)
    assert reader.memory.unknown()[-1] == (OTHER, 1)


def test_a_view_is_without_gaps() -> None:
    reader = Reader()
    for first, last in ((1, 2), (3, 5), (8, 9)):
        reader.read(first, last)
    view = reader.memory.view(KEY, 2)
    assert view is not None
    assert [(one.first_seq, one.last_seq) for one in view.frames] == [(1, 2), (3, 5)]
    assert (view.head, view.end_seq) == (None, None)
    assert reader.memory.view((OTHER, 1), 1) is None
    reader.read(6, 7, end=False)
    reader.read(10, 9, end=True)
    view = reader.memory.view(KEY, 6)
    assert view is not None
    assert [one.first_seq for one in view.frames] == [6, 8]
    assert view.end_seq == 9
