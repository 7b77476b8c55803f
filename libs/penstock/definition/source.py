"""A definition as plain data, and where each part of it was written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import orjson

from penstock.core.errors import Problem, RejectInput
from penstock.definition.limits import MAX_JOBS_JSON, MAX_JSON_BYTES

Path = tuple[str | int, ...]
"""The keys and list indexes that lead to a value: `("jobs", "test", "needs", 1)`."""

Position = tuple[int | None, int | None]
"""Line and column, both from 1; None where the input has no lines."""

NOWHERE: Position = (None, None)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,80}")


class Source:
    """A definition that came as an object: it has no lines. `YamlSource` is the one that has."""

    __slots__ = ("data", "max_jobs", "problems")

    def __init__(self, data: dict[str, Any], max_jobs: int, problems: Sequence[Problem] = ()) -> None:
        self.data = data
        self.max_jobs = max_jobs
        self.problems = problems
        """What the loader found wrong and could pass over; `check` reports it with all the rest."""

    def position(self, path: Path, *, key: bool = False, find: str = "") -> Position:  # noqa: ARG002
        """Where the value at this path starts; its key, or this text within it, where asked for."""
        return NOWHERE

    def written(self, path: Path, value: object) -> str:  # noqa: ARG002
        """A number or boolean as text: as written where that is known (`3.10` stays `3.10`)."""
        return orjson.dumps(value).decode()


def show_path(path: Path) -> str:
    """A path as a person reads it: `jobs.test.needs[1]`, `jobs["unit tests"].run`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            shown += f".{part}" if shown else part
        else:
            shown += f"[{quote(part)}]"
    return shown


def quote(text: str, limit: int = 80) -> str:
    """Text in double quotes on one line, cut where it is long, safe to print and to encode."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return orjson.dumps(cut.encode("utf-8", "replace").decode()).decode()


def load_json_object(obj: object) -> Source:
    """Take a definition that came as JSON, already decoded.

    Raises:
        RejectInput: it is not an object, not JSON (lone surrogates, values that JSON has not), larger than
            16 MiB, nested too deep, or holds U+0000.
    """
    if not isinstance(obj, dict):
        raise RejectInput(
            Problem("a definition is an object", hint='such as {"jobs": {"test": {"run": "…"}}}')
        )
    try:
        data = orjson.dumps(obj)
    except TypeError as error:  # orjson.JSONEncodeError is a TypeError
        raise RejectInput(Problem(f"the definition is not JSON: {error}")) from None
    if len(data) > MAX_JSON_BYTES:
        raise RejectInput(Problem(f"the definition has {len(data):,} bytes; {MAX_JSON_BYTES:,} is the limit"))
    # An escaped backslash before "u0000" looks the same, so a hit is only a reason to look closer.
    if b"\\u0000" in data:
        problem = _find_unusable(obj)
        if problem is not None:
            raise RejectInput(problem)
    return Source(obj, MAX_JOBS_JSON)


def _find_unusable(root: dict[str, Any]) -> Problem | None:
    """The first text or key that holds U+0000."""
    stack: list[tuple[Path, Any]] = [((), root)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, str) and "\0" in value:
            return Problem("U+0000 is not allowed in text", show_path(path), hint="remove the NUL character")
        if isinstance(value, dict):
            for key in value:
                if "\0" in key:
                    return Problem("U+0000 is not allowed in a key", show_path((*path, key)))
            stack.extend(((*path, key), item) for key, item in value.items())
        elif isinstance(value, list | tuple):
            stack.extend(((*path, index), item) for index, item in enumerate(value))
    return None


def describe(value: object) -> str:
    """A value in a few words, for "expected …, got …"."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {quote(value, 60)}"
    if isinstance(value, int | float):
        known = not isinstance(value, float) or math.isfinite(value)
        return f"the number {value:.17g}" if known else "a number out of range"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
