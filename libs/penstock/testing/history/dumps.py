"""Two dumps of a database (`penstock.store.audit.dump`), and where they differ first."""

from __future__ import annotations

from typing import Final

MOST_CHARACTERS: Final = 400


def difference(before: str, after: str) -> str:
    """The first row that only one of them has, in words; empty when they are equal."""
    if before == after:
        return ""
    rows, again = before.splitlines(), after.splitlines()
    for row, other in zip(rows, again, strict=False):
        if row != other:
            # Rows are sorted: the smaller one is not in the other dump at all.
            return _gone(row) if row < other else _new(other)
    return _gone(rows[len(again)]) if len(rows) > len(again) else _new(again[len(rows)])


def _gone(row: str) -> str:
    return f"no longer there: {row[:MOST_CHARACTERS]}"


def _new(row: str) -> str:
    return f"not there before: {row[:MOST_CHARACTERS]}"
