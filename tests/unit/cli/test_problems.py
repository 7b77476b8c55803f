"""Problems with a caret below their place."""

from __future__ import annotations

import unicodedata

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.problems import WIDTH, show_problem, show_problems, underline
from penstock.core.errors import Problem


def shown(problem: Problem, text: str) -> list[str]:
    return click.unstyle(show_problems([problem], "a.yml", text)).split("\n")


def test_place_line_caret_and_hint() -> None:
    problem = Problem("no such job", "jobs.b.needs[0]", 3, 12, "did you mean `a`?")
    assert shown(problem, "jobs:\n  b:\n    needs: [x]\n") == [
        "a.yml:3:12: error: jobs.b.needs[0]: no such job",
        "  3 |     needs: [x]",
        "    |            ^",
        "  hint: did you mean `a`?",
    ]


def test_a_problem_without_a_place_has_no_line() -> None:
    assert shown(Problem("nothing here"), "x") == ["a.yml: error: nothing here"]


def test_a_line_that_is_not_there_is_not_shown() -> None:
    assert shown(Problem("ends too soon", line=9, column=1), "x\n") == ["a.yml:9:1: error: ends too soon"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_lines_end_where_yaml_ends_them(end: str) -> None:
    assert shown(Problem("x", line=2, column=1), f"one{end}two{end}three")[1] == "  2 | two"


def test_wide_and_combining_characters_keep_the_caret_in_place() -> None:
    assert underline("日本: x", 5) == ("日本: x", "      ^")
    assert underline("e\u0301: x", 5) == ("e\u0301: x", "   ^")


def test_a_tab_is_one_column() -> None:
    assert underline("\tx", 2) == (" x", " ^")


def test_controls_of_the_file_do_not_reach_the_terminal() -> None:
    line = show_problem(Problem("x", line=1, column=1), "a.yml", ["\x1b[2Jevil"])
    assert "\x1b[2J" not in line


def test_a_long_line_is_cut_around_the_place() -> None:
    source, caret = underline("a" * 300 + "X" + "b" * 300, 301)
    assert len(source) <= WIDTH + 2
    assert source[len(caret) - 1] == "X"
    assert source.startswith("…")
    assert source.endswith("…")


@given(st.text("ab 日e\u0301", min_size=1, max_size=99), st.data())
def test_the_caret_counts_columns_as_a_terminal_does(line: str, data: st.DataObject) -> None:
    column = data.draw(st.integers(1, len(line)))
    source, caret = underline(line, column)
    assert source == line
    assert len(caret) - 1 == sum(map(cells, line[: column - 1]))


def cells(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
