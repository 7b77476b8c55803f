"""Latencies out of status records and log lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.cli.words import timestamp
from penstock.client.records import LogLine, Status

TAIL_OPEN_SECONDS: Final = 0.1
"""A tail counts as open so long after its job was seen RUNNING; lines from before are replayed."""


class Measures:
    """Seconds, collected over all pipelines of the demo."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, int, str], float] = {}
        """When which attempt entered a state; QUEUED counts for the attempt that comes of it."""
        self._seen_running: dict[tuple[str, int], float] = {}
        self._first_running: dict[str, float] = {}
        self._lines: list[float] = []
        self._submitted: dict[str, float] = {}

    def submitted(self, pipeline_id: str, at: float) -> None:
        """When a pipeline was asked for, by our clock."""
        self._submitted[pipeline_id] = at

    def status(self, record: Status, now: float) -> None:
        """A status record that was seen now."""
        if "job_id" not in record:
            return
        attempt = record.get("attempt", 0) + (record["state"] == "QUEUED")
        at = timestamp(record["at"])
        self._at[record["job_id"], attempt, record["state"]] = at
        if record["state"] == "RUNNING":
            self._seen_running[record["job_id"], attempt] = now
            first = self._first_running.get(record["pipeline_id"], at)
            self._first_running[record["pipeline_id"]] = min(first, at)

    def lines(self, job_id: str, attempt: int, lines: list[LogLine], now: float) -> None:
        """Log lines that were seen now."""
        since = self._seen_running.get((job_id, attempt), now) + TAIL_OPEN_SECONDS
        self._lines += [now - line["ts"] / 1000 for line in lines if line["ts"] / 1000 >= since]

    def table(self) -> Iterator[tuple[str, list[float]]]:
        """Each kind of latency with its measures, sorted."""
        yield (
            "asked for -> first job RUNNING",
            sorted(at - self._submitted[pipeline] for pipeline, at in self._first_running.items()),
        )
        yield "QUEUED -> ASSIGNED", self._between("QUEUED", "ASSIGNED")
        yield "ASSIGNED -> RUNNING", self._between("ASSIGNED", "RUNNING")
        yield "line written -> seen here", sorted(self._lines)

    def _between(self, before: str, after: str) -> list[float]:
        return sorted(
            at - self._at[job_id, attempt, before]
            for (job_id, attempt, state), at in self._at.items()
            if state == after and (job_id, attempt, before) in self._at
        )
