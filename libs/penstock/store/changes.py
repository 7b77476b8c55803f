"""What a transition function returns: the events of its transaction and the outbox row that keeps them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

KINDS: Final = ("pipelines", "jobs", "ready", "grants", "stops")


class Changes(msgspec.Struct):
    """Events of one or more transactions, to publish now; `outbox_ids` are deleted once all are acked.

    `pipelines` and `jobs` are status records, `ready` rows of the queue, `grants` and `stops` orders for
    runners, `undecided` PENDING jobs for the pure decide, as {job_id, pipeline_id}.
    """

    outbox_ids: list[str] = []
    pipelines: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = []
    ready: list[dict[str, Any]] = []
    grants: list[dict[str, Any]] = []
    stops: list[dict[str, Any]] = []
    undecided: list[dict[str, str]] = []

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

    def __bool__(self) -> bool:
        return bool(self.pipelines or self.jobs or self.ready or self.grants or self.stops)
