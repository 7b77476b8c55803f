"""Everything has its turn."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from penstock.testing.turns import due, turn


def test_all_of_them_in_a_few_turns() -> None:
    assert [due("abcde", number, 2) for number in range(3)] == [["a", "b"], ["c", "d"], ["e", "a"]]
    assert due("ab", 7, 5) == ["b", "a"]


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(("git", *who, *words), cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, text: str) -> None:
    git(folder, "commit", "--quiet", "--allow-empty", "-m", text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    made = tmp_path / "checkout"
    made.mkdir()
    git(made, "init", "--quiet")
    return made


def test_another_commit_has_another_turn_in_a_shallow_clone_too(checkout: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    for number in range(3):
        commit(checkout, str(number))
        shallow = tmp_path / str(number)
        git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{checkout}", str(shallow))
        assert git(shallow, "rev-list", "--count", "HEAD") == "1"
        assert turn(shallow) == turn(checkout) == int(git(checkout, "rev-parse", "HEAD")[:8], 16)
        seen.append(turn(shallow))
    assert len(set(seen)) == 3


def test_something_without_a_commit(checkout: Path, tmp_path: Path) -> None:
    assert turn(checkout) > 0, "nothing is committed"
    assert turn(tmp_path) > 0, "no checkout"
