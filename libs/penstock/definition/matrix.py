"""The matrix of a job: which cells it has, in which order, and what they are called, all as at GitHub.

- Cells are the product of the lists, the first key slowest, without those that an entry of `exclude` matches.
- An entry of `include` goes into each cell of the product whose own values it does not change; what an
  earlier entry put there, it may change. If it fits into none, it is a cell of its own.
- Values are compared by their texts. A cell is named after all of its values that are not empty.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sized
from typing import Any, Final, NamedTuple

from penstock.definition import limits, names
from penstock.definition.expressions import EXPRESSION, Cell, Value, expected, refuse
from penstock.definition.report import Report
from penstock.definition.source import Path, quote

SPLIT: Final = "several jobs may have a matrix each"
KEY: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
_KEY: Final = re.compile(KEY)
_ENTRIES: Final = ("include", "exclude")


class Matrix(NamedTuple):
    """A matrix as written."""

    axes: dict[str, list[Value]]
    include: list[Cell]
    exclude: list[Cell]

    @property
    def keys(self) -> dict[str, None]:
        """All that any cell may have, in the order of the file."""
        return dict.fromkeys(itertools.chain(self.axes, *self.include))

    @property
    def product(self) -> int:
        """How many combinations there are before `exclude` and `include`."""
        return math.prod(map(len, self.axes.values())) if self.axes else 0

    @property
    def work(self) -> int:
        """What it takes to find the cells."""
        return self.product * (len(self.axes) + sum(map(len, self.exclude)) + sum(map(len, self.include)))

    def cells(self) -> list[Cell]:
        """The cells in their order; when they are too many, one more than there may be.

        Of two values of one key that have the same text, each makes a cell.
        """
        rows = itertools.product(*self.axes.values()) if self.axes else iter(())
        kept = (
            cell
            for cell in (dict(zip(self.axes, row, strict=True)) for row in rows)
            if not any(_agrees(cell, entry) for entry in self.exclude)
        )
        cells = list(itertools.islice(kept, limits.MAX_MATRIX_CELLS + 1))
        own = [(cell, dict(cell)) for cell in cells]
        for entry in self.include:
            fitting = [cell for cell, original in own if _agrees(original, entry, missing=True)]
            for cell in fitting:
                cell.update(entry)
            if not fitting:
                cells.append(dict(entry))
        return cells[: limits.MAX_MATRIX_CELLS + 1]


def name_of(key: str, cell: Cell) -> str:
    """`test (3.12, linux)`."""
    shown = ", ".join(value.text for value in cell.values() if value.text)
    return f"{key} ({shown})" if shown else key


def read_matrix(report: Report, path: Path, value: Any) -> Matrix:
    """The matrix as far as it can be read."""
    matrix = Matrix({}, [], [])
    if not isinstance(value, dict):
        expected(report, path, "an object of lists", value, "write `matrix: {python: ['3.12', '3.13']}`")
        return matrix
    if _too_many(report, path, [key for key in value if key not in _ENTRIES], limits.MAX_MATRIX_KEYS):
        return matrix
    for key, item in value.items():
        if key in _ENTRIES:
            continue
        _check_key(report, (*path, key))
        matrix.axes[key] = _read_axis(report, (*path, key), item)
    if "include" in value:
        matrix.include.extend(_read_entries(report, (*path, "include"), value["include"]))
    if "exclude" in value:
        matrix.exclude.extend(_read_entries(report, (*path, "exclude"), value["exclude"]))
        _check_exclude(report, (*path, "exclude"), matrix)
    if _too_many(report, path, matrix.keys, limits.MAX_MATRIX_KEYS):
        return matrix
    if not matrix.axes and not value.get("include"):
        report.add(path, "the matrix has no keys", "such as `matrix: {python: ['3.12', '3.13']}`", key=True)
    return matrix


def _agrees(cell: Cell, entry: Cell, *, missing: bool = False) -> bool:
    """Whether a cell has the values of an entry; `missing`: or no value where the entry has one."""
    for key, value in entry.items():
        own = cell.get(key)
        if own is None:
            if not missing:
                return False
        elif own.text != value.text:
            return False
    return True


def _check_key(report: Report, path: Path) -> None:
    key = str(path[-1])
    if not _KEY.fullmatch(key):
        hint = "a key has letters, digits, _ and -, and does not start with a digit"
        report.add(path, f"{quote(key)} is not a key of a matrix", hint, key=True)


def _check_exclude(report: Report, path: Path, matrix: Matrix) -> None:
    """An entry with a key that cells do not have is a mistake: it would match nothing."""
    for at, entry in enumerate(matrix.exclude):
        for key in entry:
            if key not in matrix.axes:
                near = report.suggest(key, matrix.axes)
                hint = f"did you mean `{near}`?" if near else "`exclude` goes before `include`"
                report.add((*path, at, key), f"no list of the matrix is called {quote(key)}", hint, key=True)


def _read_axis(report: Report, path: Path, value: Any) -> list[Value]:
    if not isinstance(value, list | tuple):
        expected(report, path, "a list of values", value, "write it in brackets: [a, b]")
        return []
    if not value:
        report.add(path, "the list has no values", "give it some, or remove the key", key=True)
    if _too_many(report, path, value, limits.MAX_MATRIX_CELLS):
        return []
    found = (_read_value(report, (*path, at), item) for at, item in enumerate(value))
    return [one for one in found if one is not None]


def _read_entries(report: Report, path: Path, value: Any) -> list[Cell]:
    if not isinstance(value, list | tuple):
        expected(report, path, "a list of objects", value, "write `- { key: value }` for each")
        return []
    entries: list[Cell] = []
    if _too_many(report, path, value, limits.MAX_MATRIX_CELLS):
        return entries
    for at, item in enumerate(value):
        if not isinstance(item, dict):
            report.expected((*path, at), "an object of keys to values", item)
            continue
        if _too_many(report, (*path, at), item, limits.MAX_MATRIX_KEYS):
            continue
        entry: Cell = {}
        if not item:
            report.add((*path, at), "this entry has no keys, so it says nothing", "remove it")
        for key, inner in item.items():
            _check_key(report, (*path, at, key))
            found = _read_value(report, (*path, at, key), inner)
            if found is not None:
                entry[key] = found
        entries.append(entry)
    return entries


def _too_many(report: Report, path: Path, items: Sized, most: int) -> bool:
    """Whether there are more than may be: then none of them is read."""
    if len(items) > most:
        report.add(path, f"{len(items):,} of them; {most} is the limit", SPLIT, key=True)
    return len(items) > most


def _read_value(report: Report, path: Path, value: Any) -> Value | None:
    if isinstance(value, str) and EXPRESSION in value:
        refuse(report, path, value)
        return None
    if not isinstance(value, str | bool | int | float) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        hint = "cells with several values are entries of `include`" if isinstance(value, dict | list) else ""
        report.expected(path, "text, a number, true or false", value, hint)
        return None
    text = value if isinstance(value, str) else report.written(path, value)
    fault = names.fault_in(text) if text else ""
    if fault:
        hint = "a cell is named after its values; let the job choose long texts by short ones"
        report.add(path, fault.replace("a name", "a value of a matrix"), hint)
        return None
    return Value(value, text)
