"""Collects all that is wrong with a definition, each with its place and a way to mend it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from penstock.core.errors import Problem, RejectInput
from penstock.definition import shape
from penstock.definition.limits import MAX_PROBLEMS
from penstock.definition.source import Path, Source, describe, quote, show_path

MAX_COMPARED = 100_000
"""Characters of names compared for near misses: enough for what a person writes, a bound for all else."""
MAX_WORD = 48
"""Characters of a word up to which it is compared at all."""

Filled = Mapping[Path, str | None]
NOTHING_FILLED: Final[Filled] = {}

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Report:
    """The problems of one definition."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._problems: list[Problem] = list(source.problems)
        self._compared_left = MAX_COMPARED
        self._speaker: int | None = None
        self._told: dict[tuple[Path, bool, str], int] = {}
        """Which job told first what is wrong at a place."""
        self._cell = ""
        self._filled = NOTHING_FILLED

    def speak_for(self, job: int | None, cell: str = "", filled: Filled = NOTHING_FILLED) -> None:
        """What follows is about the job of this number; None: about none. All cells of a matrix stand at one
        place, of which the first that finds something wrong there tells, and the others are silent.

        `cell` is its name; `filled` has the texts at the paths that it filled in, None where that failed and
        was reported.
        """
        self._speaker, self._cell, self._filled = job, cell, filled

    def add(self, path: Path, message: str, hint: str = "", *, key: bool = False, find: str = "") -> None:
        """One problem at the value of this path; `key`: at its key; `find`: at this text within it.

        Raises:
            RejectInput: it is one too many, so that hostile input costs no more than what is shown of it.
        """
        if path in self._filled:
            if self._filled[path] is None:
                return
            message += f" (in {quote(self._cell)})"
        if self._speaker is not None:
            place = (path, key, find)
            if self._told.setdefault(place, self._speaker) != self._speaker:
                return
        if len(self._problems) >= MAX_PROBLEMS:
            self._refuse(Problem("there are more problems", hint="mend these first"))
        line, column = self._source.position(path, key=key, find=find)
        self._problems.append(Problem(message, show_path(path), line, column, hint))

    @property
    def count(self) -> int:
        """How many problems were reported so far."""
        return len(self._problems)

    def expected(self, path: Path, what: str, value: object, hint: str = "") -> None:
        """The value is of another kind than expected."""
        if value is None and not hint:
            hint = "give it a value or remove the key"
        self.add(path, f"expected {what}, got {describe(value)}", hint)

    def later(self, path: Path, what: str, hint: str = "", *, key: bool = False, find: str = "") -> None:
        """A part of the language that is known but not built: refused, never ignored."""
        self.add(path, f"{what} is not supported yet", hint or "leave it out", key=key, find=find)

    def unknown_key(self, path: Path, place: shape.Place) -> None:
        """A key that this place does not have: say which one was meant."""
        key = str(path[-1])
        if key in place.later:
            self.later(path, f"`{key}`", place.later[key], key=True)
            return
        self.add(path, f"{quote(key)} is not a key of {place.title}", self._meant(key, place), key=True)

    def suggest(self, word: str, candidates: Iterable[str]) -> str:
        """The candidate that was probably meant, or nothing."""
        affordable = self._compared_left // len(word) if 0 < len(word) <= MAX_WORD else 0
        if not affordable:
            return ""
        near = [name for name in candidates if abs(len(name) - len(word)) <= 3][:affordable]
        self._compared_left -= len(near) * len(word)
        by_lower = {name.lower(): name for name in near}
        close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
        return by_lower[close[0]] if close else ""

    def existing(self, path: Path) -> Path:
        """As much of a path as leads somewhere: `needs: a` has no first item, `needs: [a]` has."""
        value: Any = self._source.data
        for depth, part in enumerate(path):
            if isinstance(value, str):
                return path[:depth]
            try:
                value = value[part]
            except (LookupError, TypeError):
                return path[:depth]
        return path

    def written(self, path: Path, value: object) -> str:
        """A number or boolean as the text that was written, by a cell's matrix where it comes from there."""
        return self._filled.get(path) or self._source.written(path, value)

    def as_text(self, path: Path, value: Any) -> Any:
        """The text of a value that a cell filled in, whatever its type; otherwise the value itself."""
        text = self._filled.get(path)
        return value if text is None else text

    def finish(self) -> None:
        """End the check.

        Raises:
            RejectInput: with all problems in the order of the file, if there are any.
        """
        if self._problems:
            self._refuse()

    def _refuse(self, *more: Problem) -> NoReturn:
        ordered = sorted(self._problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        raise RejectInput((*ordered, *more))

    def _meant(self, key: str, place: shape.Place) -> str:
        word = _CAMEL.sub("-", key).lower().replace("_", "-")
        if word in place.built:
            return f"write `{word}`"
        if word in place.later:
            return f"`{word}` is meant? It is not supported yet"
        foreign = place.foreign.get(word) or shape.FOREIGN.get(word)
        if foreign:
            return foreign
        homes = [other.title for other in shape.PLACES if word in other.built or word in other.later]
        if homes and len(word) > 1:
            return f"`{word}` is a key of {' and of '.join(homes[:2])}"
        near = self.suggest(word, (*place.built, *place.later, *place.foreign, *shape.FOREIGN))
        if near in place.built or near in place.later:
            return f"did you mean `{near}`?"
        meant = place.foreign.get(near) or shape.FOREIGN.get(near)
        return meant or f"{place.title} has {', '.join(place.built)}"
