"""`concurrency` of the file: the group of pipelines of which one runs at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from penstock.core.errors import Problem, RejectInput
from penstock.definition import limits, shape, values
from penstock.definition.expressions import check_git, put_git
from penstock.definition.model import ConcurrencyGroup
from penstock.definition.names import fault_in, normalize
from penstock.definition.report import Report
from penstock.definition.source import Path

Queue = Literal["all", "latest"]
QUEUES: Final[dict[str, Queue]] = {"all": "all", "latest": "latest"}
_FOREIGN_QUEUES: Final = {"max": "all", "single": "latest"}


def read_concurrency(report: Report, path: Path, value: Any) -> ConcurrencyGroup | None:
    """A group's name, or {group, cancel-in-progress, queue}."""
    if not isinstance(value, dict):
        group = _read_group(report, path, value)
        return ConcurrencyGroup(group=group, cancel_in_progress=False, queue="all") if group else None
    given = values.read_object(report, path, value, CONCURRENCY, shape.CONCURRENCY)
    if "group" not in value:
        report.add(path, "`concurrency` needs a `group`", "such as `group: deploy`", key=True)
    return ConcurrencyGroup(
        group=given.get("group") or "",
        cancel_in_progress=given.get("cancel-in-progress") or False,
        queue=given.get("queue") or "all",
    )


def for_request(group: ConcurrencyGroup, git: Mapping[str, Any]) -> ConcurrencyGroup:
    """The group of one request, whose `git` is put in; its name is compared in its NFC form.

    Raises:
        RejectInput: its name is empty, too long, or has control characters.
    """
    name = normalize(put_git(group["group"], git))
    fault = fault_in(name.strip() and name, limits.MAX_GROUP_BYTES)
    if fault:
        hint = "give the request the `git` that the group is named after, or add fixed text to its name"
        raise RejectInput(Problem(f"the concurrency group: {fault}", "concurrency.group", hint=hint))
    return ConcurrencyGroup(group=name, cancel_in_progress=group["cancel_in_progress"], queue=group["queue"])


def _read_group(report: Report, path: Path, value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return values.read_text(report, path, value)
    fault = fault_in(value, limits.MAX_NAME_BYTES)
    if fault:
        report.add(path, fault)
        return None
    check_git(report, path, value)
    return value


def _read_queue(report: Report, path: Path, value: Any) -> Queue | None:
    text = values.read_text(report, path, value)
    if text is None or text in QUEUES:
        return QUEUES[text] if text else None
    near = _FOREIGN_QUEUES.get(text) or report.suggest(text, QUEUES)
    report.expected(path, "all or latest", text, f"did you mean {near}?" if near else "")
    return None


CONCURRENCY: Final[dict[str, values.Reader]] = {
    "group": _read_group,
    "cancel-in-progress": values.read_flag,
    "queue": _read_queue,
}
