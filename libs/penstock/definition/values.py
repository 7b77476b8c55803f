"""Readers of single values: each checks one value at one path and returns what it means.

A reader that finds a problem reports it and returns None; the definition is refused in the end, so what
follows from that None is never seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from penstock.core.lanes import LANES, Lane, lane_of
from penstock.definition import durations, limits, names, shape
from penstock.definition.expressions import EXPRESSION, expected, refuse
from penstock.definition.model import Condition
from penstock.definition.report import Report
from penstock.definition.source import Path, quote

Reader = Callable[[Report, Path, Any], Any]

ENV_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
POOL: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
EXECUTOR: Final = r"[a-z][a-z0-9_-]{0,62}"
LABEL: Final = r"[^\s,\x00-\x1f\x7f-\x9f]+"
STEP_ID: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
CONDITION: Final = r"\s*(?:\$\{\{\s*)?(always|failure|success|!\s*cancelled)\s*\(\s*\)\s*(?:\}\}\s*)?"

_ENV_NAME: Final = re.compile(ENV_NAME)
_POOL: Final = re.compile(POOL)
_EXECUTOR: Final = re.compile(EXECUTOR)
_LABEL: Final = re.compile(LABEL)
_STEP_ID: Final = re.compile(STEP_ID)
_CONDITION: Final = re.compile(CONDITION, re.IGNORECASE)


def read_object(
    report: Report, path: Path, value: Any, readers: Mapping[str, Reader], place: shape.Place
) -> dict[str, Any]:
    """Read an object by a table of its keys; what is not in the table is reported."""
    if not isinstance(value, dict):
        report.expected(path, "an object", value)
        return {}
    found: dict[str, Any] = {}
    for key, item in value.items():
        reader = readers.get(key)
        if reader is None:
            report.unknown_key((*path, key), place)
        else:
            found[key] = reader(report, (*path, key), item)
    return found


def read_text(report: Report, path: Path, value: Any) -> str | None:
    """Text that is not empty and has no expression in it."""
    if not isinstance(value, str):
        value = report.as_text(path, value)
        if not isinstance(value, str):
            hint = "put it in quotes" if isinstance(value, bool | int | float) else ""
            report.expected(path, "text", value, hint)
            return None
    if EXPRESSION in value:
        refuse(report, path, value)
        return None
    if not value or value.isspace():
        report.add(path, "the text is empty", "give it a value or remove the key")
        return None
    return value


def read_name(report: Report, path: Path, value: Any) -> str | None:
    """A short text on one line."""
    text = read_text(report, path, value)
    if text is not None and (fault := names.fault_in(text, limits.MAX_NAME_BYTES)):
        report.add(path, fault)
        return None
    return text


def _pattern(pattern: re.Pattern[str], what: str) -> Reader:
    def read(report: Report, path: Path, value: Any) -> str | None:
        text = read_text(report, path, value)
        if text is not None and not pattern.fullmatch(text):
            report.expected(path, what, text)
            return None
        return text

    return read


read_pool: Final = _pattern(_POOL, "1 to 63 letters, digits, . _ and -")
read_executor: Final = _pattern(_EXECUTOR, "process, noop or a plug-in's name (a-z, 0-9, _ and -)")
read_step_id: Final = _pattern(_STEP_ID, "letters, digits, _ and -, not starting with a digit")


def read_flag(report: Report, path: Path, value: Any) -> bool | None:
    """True or false."""
    if isinstance(value, bool):
        return value
    hint = "YAML 1.2 knows only true and false" if isinstance(value, str) else ""
    expected(report, path, "true or false", value, hint)
    return None


def read_duration(report: Report, path: Path, value: Any) -> float | None:
    """Seconds."""
    try:
        return durations.parse_duration(value)
    except ValueError as error:
        expected(report, path, str(error), value)
    return None


def read_timeout(report: Report, path: Path, value: Any) -> dict[str, float | None]:
    """`15m` or {run, queue, cancel-grace}: the keys that were given, in seconds."""
    if isinstance(value, dict):
        return read_object(report, path, value, _TIMEOUT, shape.TIMEOUT)
    return {"run": read_duration(report, path, value)}


_TIMEOUT: Final[dict[str, Reader]] = dict.fromkeys(("run", "queue", "cancel-grace"), read_duration)


def _read_retry_max(report: Report, path: Path, value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limits.MAX_RETRIES:
        return value
    report.expected(path, f"a whole number from 0 to {limits.MAX_RETRIES}", value)
    return None


_RETRY: Final[dict[str, Reader]] = {"max": _read_retry_max}


def read_retry(report: Report, path: Path, value: Any) -> dict[str, int | None]:
    """{max}: the keys that were given."""
    if isinstance(value, int) and not isinstance(value, bool):
        report.expected(path, "an object", value, "write `retry: {max: …}`")
        return {}
    return read_object(report, path, value, _RETRY, shape.RETRY)


def read_priority(report: Report, path: Path, value: Any) -> Lane | None:
    """A lane's name, or 1 to 10."""
    if isinstance(value, str) and EXPRESSION in value:
        refuse(report, path, value)
        return None
    if isinstance(value, str | int):
        try:
            return lane_of(value)
        except ValueError:
            pass
    near = report.suggest(value, LANES) if isinstance(value, str) else ""
    hint = f"did you mean {near}?" if near else ""
    report.expected(path, "critical, high, normal, or a number from 1 to 10", value, hint)
    return None


def read_condition(report: Report, path: Path, value: Any) -> Condition | None:
    """always(), failure(), success() or !cancelled(), also within ${{ }}."""
    text = value if isinstance(value, str) else report.written(path, value)
    match = _CONDITION.fullmatch(text) if isinstance(value, str) else None
    if match is None:
        hint = "so far there are always(), failure(), success() and !cancelled()"
        report.later(path, f"the condition {quote(text, 60)}", hint)
        return None
    word = match[1].lower()
    if word == "success":
        return "success"
    # Cancelling a pipeline cancels all that has not started, so "unless cancelled" is always().
    return "failure" if word == "failure" else "always"


def read_env(report: Report, path: Path, value: Any) -> dict[str, str]:
    """Names to texts; numbers and booleans become the text that was written."""
    if not isinstance(value, dict):
        hint = "write NAME: value" if isinstance(value, list) else ""
        report.expected(path, "an object of names to values", value, hint)
        return {}
    found: dict[str, str] = {}
    for name, item in value.items():
        at = (*path, name)
        if not _ENV_NAME.fullmatch(name):
            hint = "a name has letters, digits and _, and does not start with a digit"
            report.add(at, f"{quote(name)} is not a name of a variable", hint, key=True)
        found[name] = _env_text(report, at, item)
    size = env_bytes(found)
    if size > limits.MAX_ENV_BYTES:
        report.add(
            path, f"the variables have {size:,} bytes; {limits.MAX_ENV_BYTES:,} is the limit", key=True
        )
    return found


def env_bytes(env: Mapping[str, str]) -> int:
    """About how much room variables take where they are stored."""
    return sum(len(name.encode()) + len(text.encode()) + 2 for name, text in env.items())


def _env_text(report: Report, path: Path, value: Any) -> str:
    if isinstance(value, str):
        if EXPRESSION in value:
            refuse(report, path, value)
        return value
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return report.written(path, value)
    hint = 'write "" for an empty value' if value is None else "write it as text"
    report.expected(path, "text, a number, true or false", value, hint)
    return ""


def read_runs_on(report: Report, path: Path, value: Any) -> dict[str, Any]:
    """{pool, labels}, a list of labels, or one label."""
    if isinstance(value, dict):
        return read_object(report, path, value, _RUNS_ON, shape.RUNS_ON)
    return {"labels": _read_labels(report, path, value)}


def _read_labels(report: Report, path: Path, value: Any) -> tuple[str, ...]:
    """Labels, sorted, each once."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        report.expected(path, "a list of labels, or {pool, labels}", value)
        return ()
    if len(value) > limits.MAX_LABELS:
        report.add(path, f"{len(value):,} labels; {limits.MAX_LABELS} is the limit")
        return ()
    found: set[str] = set()
    for at, item in enumerate(value):
        label = read_text(report, (*path, at), item)
        if label is None:
            continue
        if not _LABEL.fullmatch(label) or names.too_long(label, limits.MAX_LABEL_BYTES):
            what = f"a label: up to {limits.MAX_LABEL_BYTES} bytes without blanks and commas"
            report.expected((*path, at), what, label)
        found.add(label)
    return tuple(sorted(found))


_RUNS_ON: Final[dict[str, Reader]] = {"pool": read_pool, "labels": _read_labels}
