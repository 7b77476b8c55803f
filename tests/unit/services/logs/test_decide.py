"""Which lines are needed, what may be stored, when a chunk is cut."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.store.logs import Head
from penstock.testing.log_frames import as_read, frame
from penstock_services.logs import decide
from penstock_services.logs.decide import Limits
from penstock_services.logs.frames import Frame, read_frame

JOB = "01890000-0000-7000-8000-000000000001"
LIMITS = Limits(chunk_bytes=1000, chunk_seconds=10, gap_seconds=30)


def made(first: int, last: int, *, at: float = 0.0, raw: int = 100) -> Frame:
    return dataclasses.replace(read_frame(as_read(frame(JOB, first, last), 0), at), raw_bytes=raw)


def spans(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(one.first_seq, one.last_seq) for one in frames]


numbers = st.sets(st.integers(1, 40))


def ranges_of(members: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(members):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def members_of(ranges: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(st.integers(1, 40), st.integers(0, 45), numbers)
def test_without_is_the_difference_of_sets(first: int, last: int, taken: set[int]) -> None:
    left = decide.without((first, last), ranges_of(taken))
    assert left == ranges_of(set(range(first, last + 1)) - taken)


@given(numbers, numbers)
def test_a_grown_head_has_what_it_had_and_what_came(old: set[int], new: set[int]) -> None:
    new -= old
    head = decide.grown(Head(), ranges_of(old), end_seq=None)
    after = decide.grown(head, ranges_of(new), end_seq=None)
    assert members_of(decide.stored_ranges(after)) == old | new
    assert after.lines == len(old | new)
    assert after.last_seq == max(old | new, default=0)
    assert after.unbroken + 1 not in old | new
    assert set(range(1, after.unbroken + 1)) <= old | new


def test_a_head_is_closed_once_all_lines_are_there() -> None:
    head = decide.grown(Head(), [(1, 4)], end_seq=9)
    assert (head.closed, head.complete) == (False, False)
    head = decide.grown(head, [(6, 9)], end_seq=None)
    assert (head.closed, head.gaps) == (False, [(5, 5)])
    head = decide.grown(head, [(5, 5)], end_seq=None)
    assert (head.closed, head.complete, head.gaps) == (True, True, [])


def test_what_lies_behind_a_gap_waits_for_it() -> None:
    frames = [made(1, 3), made(4, 6), made(9, 10, at=5)]
    assert spans(decide.storable(frames, Head(), 30, 30)) == [(1, 3), (4, 6)]
    assert spans(decide.storable(frames, Head(), 35, 30)) == [(1, 3), (4, 6), (9, 10)]
    assert len(decide.storable(frames, Head(), 6, 30, pressed=True)) == 3
    assert len(decide.storable(frames, Head(2, 2, None, True), 6, 30)) == 3
    assert decide.storable(frames[2:], Head(6, 6), 6, 30) == []


def test_what_fills_a_gap_of_the_index_may_be_stored_at_once() -> None:
    head = Head(lines=4, last_seq=8, gaps=[(3, 6)])
    assert spans(decide.storable([made(3, 4), made(6, 6), made(9, 9)], head, 0, 30)) == [
        (3, 4),
        (6, 6),
        (9, 9),
    ]


def test_chunks_are_contiguous_and_bounded() -> None:
    frames = [made(1, 1, raw=600), made(2, 2, raw=300), made(3, 3, raw=200), made(5, 5), made(6, 6, raw=5000)]
    groups = decide.grouped(frames, 1000)
    assert [spans(group) for group in groups] == [[(1, 1), (2, 2)], [(3, 3)], [(5, 5)], [(6, 6)]]


@pytest.mark.parametrize(
    ("frames", "end_seq", "now", "cut"),
    [
        ([made(1, 2)], None, 9.9, None),
        ([made(1, 2)], None, 10.0, [[(1, 2)]]),
        ([made(1, 2)], 2, 0.0, [[(1, 2)]]),
        ([made(1, 2)], 3, 0.0, None),
        ([made(2, 3)], 3, 0.0, None),
        ([made(2, 3)], 3, 30.0, [[(2, 3)]]),
        ([], None, 99.0, None),
        ([], 0, 0.0, []),
        ([made(1, 1, raw=999)], None, 0.0, None),
        ([made(1, 1, raw=1000)], None, 0.0, [[(1, 1)]]),
        # What does not fill a chunk stays for the next one, unless it is old.
        ([made(1, 1, raw=900), made(2, 2, raw=200)], None, 0.0, [[(1, 1)]]),
        ([made(1, 1, raw=900), made(2, 2, raw=200)], None, 10.0, [[(1, 1)], [(2, 2)]]),
    ],
)
def test_when_a_log_is_cut(
    frames: list[Frame], end_seq: int | None, now: float, cut: list[list[tuple[int, int]]] | None
) -> None:
    groups = decide.cut(frames, Head(), end_seq, LIMITS, now, pressed=False)
    assert (None if groups is None else [spans(group) for group in groups]) == cut


def test_pressure_cuts_at_once_and_over_gaps() -> None:
    groups = decide.cut([made(1, 1), made(3, 3)], Head(), None, LIMITS, 0, pressed=True)
    assert groups is not None
    assert [spans(group) for group in groups] == [[(1, 1)], [(3, 3)]]


def test_the_end_alone_is_stored_once() -> None:
    assert decide.cut([], Head(5, 5), 5, LIMITS, 0, pressed=False) == []
    assert decide.cut([], Head(5, 5, 5, True), 5, LIMITS, 0, pressed=False) is None
    assert decide.cut([], Head(4, 4), 5, LIMITS, 0, pressed=False) is None


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.floats(0, 50)), min_size=1, max_size=6, unique_by=lambda f: f[0]
    ),
    st.floats(0, 100),
)
def test_what_is_not_cut_now_is_looked_at_when_it_is_due(places: list[tuple[int, float]], now: float) -> None:
    frames = [made(place, place, at=min(at, now), raw=1) for place, at in sorted(places)]
    if decide.cut(frames, Head(), None, LIMITS, now, pressed=False) is None:
        due = decide.due_at(frames, Head(), LIMITS, now)
        assert due > now
        later = decide.storable(frames, Head(), due + 1e-6, LIMITS.gap_seconds)
        cut = decide.cut(frames, Head(), None, LIMITS, due + 1e-6, pressed=False)
        assert cut is not None or len(later) > len(decide.storable(frames, Head(), now, LIMITS.gap_seconds))
