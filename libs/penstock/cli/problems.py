"""Problems of a pipeline file as a compiler shows them: the place, the line, a caret, a hint. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

import click

from penstock.core.errors import Problem

WIDTH: Final = 100
"""Columns of a line that are shown; of a longer one those around the place."""

_BREAK: Final = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What YAML counts as the end of a line."""
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def show_problems(problems: Iterable[Problem], file: str, text: str) -> str:
    """All problems of one file, each with the line it is in, if it has one."""
    lines = _BREAK.split(text.removeprefix("\ufeff"))
    return "\n".join(show_problem(problem, file, lines) for problem in problems)


def show_problem(problem: Problem, file: str, lines: Sequence[str]) -> str:
    """`file:line:column: error: …`, the line, a caret below the place, and how to mend it."""
    where = ":".join(str(part) for part in (file, problem.line, problem.column) if part is not None)
    path = f"{problem.path}: " if problem.path else ""
    error = click.style("error:", fg="red", bold=True)
    shown = [f"{click.style(where, bold=True)}: {error} {path}{problem.message}"]
    if problem.line is not None and 0 < problem.line <= len(lines):
        number = str(problem.line)
        source, caret = underline(lines[problem.line - 1], problem.column or 1)
        bar = click.style("|", fg="blue")
        shown.append(f"  {click.style(number, fg='blue')} {bar} {source}")
        shown.append(f"  {' ' * len(number)} {bar} {caret[:-1]}{click.style('^', fg='red', bold=True)}")
    if problem.hint:
        shown.append(f"  {click.style('hint:', fg='cyan')} {problem.hint}")
    return "\n".join(shown)


def underline(line: str, column: int) -> tuple[str, str]:
    """The line as it can be printed, cut where it is long, and blanks with a caret below its column."""
    line = line.replace("\t", " ")
    at = min(column - 1, len(line))
    start = max(0, at - WIDTH * 2 // 3) if len(line) > WIDTH else 0
    before, after = line[start:at], line[at : start + WIDTH]
    head = "…" if start else ""
    tail = "…" if start + WIDTH < len(line) else ""
    source = head + _UNSAFE.sub("\ufffd", before + after) + tail
    return source, " " * (len(head) + sum(map(_cells, before))) + "^"


def _cells(character: str) -> int:
    """Columns that a character takes in a terminal."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
