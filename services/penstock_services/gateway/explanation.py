"""Why a job is in its state, from the facts that the store has of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.store.standing import MOST_COUNTED, MOST_NEEDS

SAME = ("job_id", "pipeline_id", "name", "state", "pool", "lane", "queued_at")
NAMED_NEEDS = 5
"""In the sentence; `detail` has more."""


class Found(NamedTuple):
    """The answer's own part."""

    reason: str | None
    text: str
    detail: dict[str, Any]
    at: str


def explanation(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to `explain`, from what `store.standing` found."""
    whole = {field: facts[field] for field in SAME} | _found(facts)._asdict()
    if "position" in facts:
        whole |= {"position": facts["position"], "ahead": facts["ahead"]}
    return whole


def _found(facts: Mapping[str, Any]) -> Found:
    now = facts["now"]
    if facts["terminal"]:
        return _ended(facts)
    match facts["state"]:
        case "QUEUED":
            return _told(facts) if facts["why"] else _in_queue(facts)
        case "PENDING":
            return _pending(facts)
        case "WAITING":
            return Found("approval", "it waits for its approval", {}, now)
        case "RETRYING":
            retry_at = facts["retry_at"]
            text = f"it is tried again at {retry_at}" if retry_at else "it is about to be tried again"
            return Found("retry", text, {"retry_at": retry_at}, now)
    return _living(facts)


def _told(facts: Mapping[str, Any]) -> Found:
    """What its dispatcher said, with names beside ids."""
    why, holder = facts["why"], facts["holder"]
    text, detail = why["text"], dict(why.get("detail") or {})
    if holder:
        who = f"{holder['name']} of pipeline {holder['pipeline']}" if "name" in holder else holder["pipeline"]
        if "since" in holder:  # It may be another one by now.
            kind, now = ("job", holder["job_id"]) if "name" in holder else ("pipeline", holder["pipeline_id"])
            text = f"{text.rpartition(' is ')[0]} is held by {kind} {who} ({now}) since {holder['since']}"
            detail |= {"held_by": now, "since": holder["since"]}
        else:
            named = detail.get("held_by") or detail.get("behind")
            text = text.replace(named, f"{who} ({named})")
        detail["holder"] = holder
    return Found(why["reason"], text, detail, why.get("at") or facts["now"])


def _in_queue(facts: Mapping[str, Any]) -> Found:
    """Nothing but those before it, as far as anybody knows."""
    slots, taken = facts["slots"], facts["taken"]
    room = f"{taken} of {slots} slots are taken" if facts["runners"] else "no runner is there"
    detail = {name: facts[name] for name in ("runners", "slots", "taken")}
    if "position" not in facts:
        return Found("queue", "it is being put into the queue", detail, facts["now"])
    ahead = facts["ahead"]
    before = f"{ahead:,} {'job' if ahead == 1 else 'jobs'} before it" if ahead else "no job before it"
    if ahead >= MOST_COUNTED:
        before = f"{ahead:,} jobs or more before it"
    place = f"position {facts['position']:,} in lane {facts['lane']} of pool {facts['pool']}"
    return Found("queue", f"{place}, {before}; {room}", detail, facts["now"])


def _pending(facts: Mapping[str, Any]) -> Found:
    needs = facts["needs"]
    names = ", ".join(need["name"] for need in needs[:NAMED_NEEDS])
    count = max(len(needs), facts["unmet"]) if len(needs) == MOST_NEEDS else len(needs)
    more = f" and {count - NAMED_NEEDS:,} more" if count > NAMED_NEEDS else ""
    text = (
        f"it needs {names}{more} to end first"
        if names
        else "all that it needs has ended: it is being decided"
    )
    return Found("needs", text, {"needs": needs, "unfinished": count}, facts["now"])


def _living(facts: Mapping[str, Any]) -> Found:
    """Somebody has it."""
    who = facts["worker_name"] or facts["worker"] or "a runner"
    detail = {name: facts[name] for name in ("worker", "worker_name", "assigned_at", "started_at")}
    if facts["state"] == "CANCELLING":
        text = f"it is being stopped on {who}"
    elif facts["started_at"]:
        text = f"it runs on {who} since {facts['started_at']}"
    else:
        text = f"{who} has it since {facts['assigned_at'] or facts['changed_at']} and is about to start it"
    return Found(None, text, detail, facts["now"])


def _ended(facts: Mapping[str, Any]) -> Found:
    reason, exit_code = facts["reason"], facts["exit_code"]
    parts = [f"it ended as {facts['state']} at {facts['changed_at']}"]
    if reason:
        parts.append(reason)
    if exit_code:
        parts.append(f"exit code {exit_code}")
    return Found(reason, ", ".join(parts), {"exit_code": exit_code}, facts["changed_at"])
