"""What a transition function returns: the events of its transaction and the outbox row that keeps them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

KINDS: Final = ("pipelines", "jobs", "ready", "grants", "stops", "freed")


class Changes(msgspec.Struct):
    """Events of one or more transactions, to publish now; `outbox_ids` are deleted once all are acked.

    `pipelines` and `jobs` are status records, `ready` rows of the queue, `grants` and `stops` orders for
    runners, `freed` names that lost a holder, as {tenant, kind, name, holder}, `undecided` PENDING jobs for
    the pure decide, as {job_id, pipeline_id}, `wishes` jobs that a rule cancels, as {tenant, pipeline_id,
    job_id}: they are cancelled at once by whoever can, by the canceller's sweep else.
    """

    outbox_ids: list[str] = []
    pipelines: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = []
    ready: list[dict[str, Any]] = []
    grants: list[dict[str, Any]] = []
    stops: list[dict[str, Any]] = []
    freed: list[dict[str, str]] = []
    undecided: list[dict[str, str]] = []
    wishes: list[dict[str, str]] = []

    def take(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Add a function's answer {outbox_id, events, …}; returns it for what else it says."""
        if answer.get("outbox_id"):
            self.outbox_ids.append(answer["outbox_id"])
        self.take_events(answer["events"])
        return answer

    def take_events(self, parts: list[dict[str, Any] | None]) -> None:
        """Add the events of an outbox row."""
        for part in parts:
            if part is None:
                continue
            for kind in KINDS:
                if part.get(kind):
                    getattr(self, kind).extend(part[kind])
            self.undecided.extend(part.get("undecided") or ())
            self.wishes.extend(part.get("wishes") or ())

    def __bool__(self) -> bool:
        return any(getattr(self, kind) for kind in KINDS)
