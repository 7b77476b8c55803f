"""`locks` of a job: names that it must hold, each alone or shared with others, all of them or none."""

from __future__ import annotations

from typing import Any, Final

from penstock.definition import limits, shape, values
from penstock.definition.model import Hold
from penstock.definition.names import normalize
from penstock.definition.report import Report
from penstock.definition.source import Path, quote

MODES: Final[dict[str, int | None]] = {"exclusive": 1, "shared": None}
"""How many may hold a lock at once."""


def read_locks(report: Report, path: Path, value: Any) -> tuple[Hold, ...]:
    """One hold a lock, sorted by names. A name is compared in its NFC form."""
    if isinstance(value, str):
        items: list[tuple[Path, Any]] = [(path, value)]
    elif isinstance(value, list | tuple):
        items = [((*path, at), item) for at, item in enumerate(value)]
    else:
        hint = "write `- { name: …, mode: … }`" if isinstance(value, dict) else ""
        report.expected(path, "a list of names or of {name, mode}", value, hint)
        return ()
    if len(items) > limits.MAX_LOCKS:
        report.add(path, f"{len(items):,} locks; {limits.MAX_LOCKS} is the limit", key=True)
        return ()
    found: dict[str, int | None] = {}
    for at, item in items:
        name, most = _read_lock(report, at, item)
        if name in found:
            report.add(at, f"the lock {quote(name)} appears twice", "keep one of them")
        elif name:
            found[name] = most
    return tuple(("lock", name, found[name]) for name in sorted(found))


def _read_lock(report: Report, path: Path, value: Any) -> tuple[str, int | None]:
    """Its name, empty when that cannot be read, and how many may hold it at once."""
    if not isinstance(value, dict):
        return normalize(values.read_name(report, path, value) or ""), 1
    given = values.read_object(report, path, value, LOCK, shape.LOCK)
    if "name" not in value:
        report.add(path, "a lock needs a `name`", "such as `{ name: db, mode: shared }`")
    return normalize(given.get("name") or ""), MODES[given.get("mode") or "exclusive"]


def _read_mode(report: Report, path: Path, value: Any) -> str | None:
    text = values.read_text(report, path, value)
    if text is None or text in MODES:
        return text
    near = report.suggest(text, MODES)
    report.expected(path, "exclusive or shared", text, f"did you mean {near}?" if near else "")
    return None


LOCK: Final[dict[str, values.Reader]] = {"name": values.read_name, "mode": _read_mode}
