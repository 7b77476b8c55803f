"""`${{ matrix.KEY }}` and `${{ git.FIELD }}`: the expressions there are so far. All others are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from penstock.definition.report import Report
from penstock.definition.source import Path, quote

EXPRESSION: Final = "${{"
OF_MATRIX: Final = r"\$\{\{[ \t]*matrix\.([A-Za-z_][A-Za-z0-9_-]*)[ \t]*\}\}"
OF_GIT: Final = r"\$\{\{[ \t]*git\.([A-Za-z_][A-Za-z0-9_-]*)[ \t]*\}\}"
GIT_FIELDS: Final = ("repo", "sha", "ref", "branch", "default_branch")

_OF_MATRIX: Final = re.compile(OF_MATRIX)
_OF_GIT: Final = re.compile(OF_GIT)
_START: Final = re.compile(r"""\$\{\{[^"'\\\r\n}]{0,60}""")
"""As much of an expression as a file shows in the same characters, however it is quoted."""


def has_expression(value: Any) -> bool:
    """Whether any text in it has one."""
    if isinstance(value, str):
        return EXPRESSION in value
    if isinstance(value, dict):
        return any(map(has_expression, value.values()))
    return isinstance(value, list | tuple) and any(map(has_expression, value))


def nodes(value: Any) -> int:
    """How many scalars, lists and objects it is."""
    if isinstance(value, dict):
        return 1 + sum(map(nodes, value.values()))
    return 1 + sum(map(nodes, value)) if isinstance(value, list | tuple) else 1


def refuse(report: Report, path: Path, text: str) -> None:
    """Report the first expression in a text: it would reach the shell as it stands, so it is refused."""
    start = _START.search(text)
    find = start[0] if start else EXPRESSION
    word = find.removeprefix(EXPRESSION).strip()
    hint = "use an environment variable"
    if word.startswith("matrix."):
        hint = "only jobs with `strategy: {matrix: …}` have it; `defaults` and the matrix itself have none"
    elif word.startswith(("git.", "github.")):
        hint += ", such as CI_COMMIT_SHA and CI_COMMIT_BRANCH; so far `git` has values in `concurrency` only"
    elif path[-1] == "run":
        hint += "; to print these three characters write '$''{{' in the shell"
    report.later(path, "`${{ … }}`", hint, find=find)


def expected(report: Report, path: Path, what: str, value: Any, hint: str = "") -> None:
    """Report a value that is not `what`, or the expression in it."""
    if isinstance(value, str) and EXPRESSION in value:
        refuse(report, path, value)
    else:
        report.expected(path, what, value, hint)


def check_git(report: Report, path: Path, text: str) -> None:
    """Report what in a text is an expression and not `${{ git.FIELD }}`, and fields that git has not."""
    for found in _OF_GIT.finditer(text):
        if found[1] not in GIT_FIELDS:
            near = report.suggest(found[1], GIT_FIELDS)
            hint = f"did you mean `git.{near}`?" if near else f"it has {', '.join(GIT_FIELDS)}"
            report.add(path, f"`git` has no {quote(found[1])} here", hint, find=found[0])
    rest = _OF_GIT.sub("", text)
    if EXPRESSION in rest:
        hint = "`github.…` is `git.…` here" if "github." in rest else "so far there is `git.FIELD` here"
        report.later(path, "this expression", hint, find=_START.findall(rest)[0])


def put_git(text: str, git: Mapping[str, Any]) -> str:
    """The text with what the request says of git; what it does not say is empty."""
    return _OF_GIT.sub(lambda found: git.get(found[1]) or "", text)


class Value(NamedTuple):
    """One value of a matrix."""

    data: str | int | float | bool
    text: str
    """As written: `3.10` is not `3.1`. Two values are the same when their texts are."""


Cell = dict[str, Value]
"""One combination of a matrix, by its keys."""

_EMPTY: Final = Value("", "")
_ABSENT: Final = object()


class Filling:
    """Puts the values of one cell into the texts of a job.

    A text that is nothing but one expression gets the value with its type. A key of the matrix that this cell
    does not have is the empty text; where it is the whole value of a key other than a variable's, that key is
    left out, as if it were not written.
    """

    def __init__(self, report: Report, cell: Cell, keys: Mapping[str, object]) -> None:
        self._report = report
        self._cell = cell
        self._keys = keys
        """All that any cell of the matrix has."""
        self.filled: dict[Path, str | None] = {}
        """For `Report.speak_for`."""

    def fill(self, path: Path, value: Any) -> Any:
        """A copy of the value that stands at this path, with all expressions of the matrix replaced.

        Keys that the matrix does not have are reported.
        """
        if isinstance(value, str):
            return self._fill_text(path, value) if EXPRESSION in value else value
        if isinstance(value, dict):
            items = ((key, self.fill((*path, key), item)) for key, item in value.items())
            return {key: item for key, item in items if item is not _ABSENT}
        if isinstance(value, list | tuple):
            items = (self.fill((*path, at), item) for at, item in enumerate(value))
            return ["" if item is _ABSENT else item for item in items]
        return value

    def _fill_text(self, path: Path, text: str) -> Any:
        unknown = [found for found in _OF_MATRIX.finditer(text) if found[1] not in self._keys]
        for found in unknown:
            near = self._report.suggest(found[1], self._keys)
            hint = f"did you mean `matrix.{near}`?" if near else f"it has {', '.join(self._keys)}"
            self._report.add(path, f"the matrix has no {quote(found[1])}", hint, find=found[0])
        if unknown:
            self.filled[path] = None
            return ""
        whole = _OF_MATRIX.fullmatch(text)
        if whole is None:
            filled = _OF_MATRIX.sub(lambda found: self._cell.get(found[1], _EMPTY).text, text)
            self.filled[path] = filled
            return filled
        value = self._cell.get(whole[1])
        self.filled[path] = value.text if value else ""
        if value is None:
            return "" if path[-2:-1] == ("env",) else _ABSENT
        return value.data
