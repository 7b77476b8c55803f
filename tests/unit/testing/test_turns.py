"""Everything has its turn."""

from __future__ import annotations

from pathlib import Path

from penstock.testing.turns import due, turn


def test_all_of_them_in_a_few_turns() -> None:
    assert [due("abcde", number, 2) for number in range(3)] == [["a", "b"], ["c", "d"], ["e", "a"]]
    assert due("ab", 7, 5) == ["b", "a"]


def test_the_same_for_the_same_commit_and_something_without_one(tmp_path: Path) -> None:
    here = Path(__file__).parent
    assert turn(here) == turn(here) > 0
    assert turn(tmp_path) > 0
