"""One method for each call of the gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

import orjson

from penstock.client.records import (
    Attempt,
    Explanation,
    Job,
    LogEnd,
    LogLine,
    Pipeline,
    Promotion,
    Receipt,
    Rerun,
    Status,
)
from penstock.client.streams import server_sent_events
from penstock.client.wire import Wire
from penstock.core.errors import StopProcess

CALL_SECONDS: Final = 30.0
QUIET_SECONDS: Final = 60.0
"""An event stream says something at least four times in this time."""
PAGE: Final = 100
"""Pipelines asked for at once."""


class Client:
    """The gateway at `url`, for the tenant of `token`.

    `url` may be several of one installation with commas between: when one is away it goes on at the next.
    Every call may raise `RetryLater` (the gateway or what it needs is away: nothing is known of the outcome),
    `Refused` (with HTTP's `status`: it always will be) and `StopProcess` (what answers is no gateway).
    """

    def __init__(self, url: str, token: str, *, call_seconds: float = CALL_SECONDS) -> None:
        self._wire = Wire(url, token, call_seconds)
        self.url = self._wire.url

    def submit(self, key: str = "", **request: Any) -> Receipt:
        """Ask for a pipeline: the fields of interface §3, one of them a definition; None leaves a field out.

        `key` makes a repeat safe: the same key is the same pipeline. Without one each call is a new pipeline.
        """
        body = {name: value for name, value in request.items() if value is not None}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return cast("Receipt", self._wire.call("POST", "/v1/pipelines", body=body, headers=headers))

    def request(self, key: str) -> Mapping[str, Any]:
        """What became of a submission: {request_id, pipeline_id, state, reason, errors}."""
        return cast("Mapping[str, Any]", self._wire.call("GET", f"/v1/requests/{quote(key, safe='')}"))

    def pipelines(
        self, *, states: Sequence[str] = (), branch: str = "", repo: str = "", limit: int = 20
    ) -> Iterator[Pipeline]:
        """The newest ones, newest first, at most `limit`; pages are fetched as they are needed."""
        filters = [("state", state) for state in states] + [("branch", branch), ("repo", repo)]
        cursor = ""
        while limit > 0:
            asked = [*filters, ("limit", str(min(limit, PAGE))), ("cursor", cursor)]
            page = self._wire.call("GET", "/v1/pipelines", query=asked)
            yield from page["pipelines"][:limit]
            limit -= len(page["pipelines"])
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return

    def pipeline(self, pipeline_id: str) -> Pipeline:
        """One pipeline."""
        return cast("Pipeline", self._wire.call("GET", f"/v1/pipelines/{pipeline_id}"))

    def jobs(self, pipeline_id: str, *, attempts: bool = False) -> Sequence[Job]:
        """All jobs of a pipeline, by level and name; with their attempts if they are wanted."""
        query = [("attempts", "1" if attempts else "")]
        page = self._wire.call("GET", f"/v1/pipelines/{pipeline_id}/jobs", query=query)
        return cast("Sequence[Job]", page["jobs"])

    def job(self, job_id: str) -> Job:
        """One job with all its attempts."""
        return cast("Job", self._wire.call("GET", f"/v1/jobs/{job_id}"))

    def attempts(self, job_id: str) -> Sequence[Attempt]:
        """All attempts of a job, the first one first."""
        return cast("Sequence[Attempt]", self._wire.call("GET", f"/v1/jobs/{job_id}/attempts")["attempts"])

    def explain(self, job_id: str) -> Explanation:
        """Why a job is in its state."""
        return cast("Explanation", self._wire.call("GET", f"/v1/jobs/{job_id}/explain"))

    def promote(self, job_id: str, lane: str) -> Promotion:
        """Raise its lane. Raises `Refused` with status 409 when it has ended or is in a higher one."""
        return cast("Promotion", self._wire.call("POST", f"/v1/jobs/{job_id}/promote", body={"lane": lane}))

    def rerun(self, pipeline_id: str, *, failed: bool = False, from_job: str = "", key: str = "") -> Rerun:
        """Run an ended pipeline again: all of it, its `failed` jobs, or this job; and what comes after them.

        `key` makes a repeat safe, as with `submit`. Raises `Refused` with
        status 409 when it has not ended or nothing failed.
        """
        body = {"failed": True} if failed else {"from": from_job} if from_job else {}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        path = f"/v1/pipelines/{pipeline_id}/rerun"
        return cast("Rerun", self._wire.call("POST", path, body=body, headers=headers))

    def cancel_pipeline(self, pipeline_id: str, reason: str = "") -> None:
        """Cancel all of a pipeline. Raises `Refused` with status 409 when it has ended."""
        self._cancel(f"/v1/pipelines/{pipeline_id}/cancel", reason)

    def cancel_job(self, job_id: str, reason: str = "") -> None:
        """Cancel one job. Raises `Refused` with status 409 when it has ended."""
        self._cancel(f"/v1/jobs/{job_id}/cancel", reason)

    def events(self, pipeline_id: str, after: str = "") -> Iterator[tuple[str, Status]]:
        """(cursor, status record): those there are, then live, until the pipeline's terminal one.

        `after` is the cursor of the last one that is known; some may come again. It ends early when the
        connection does: `follow_events` goes on by itself.
        """
        headers = {"Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = after
        path = f"/v1/pipelines/{pipeline_id}/events"
        body = self._wire.stream(path, headers=headers, quiet_seconds=QUIET_SECONDS)
        lines = (line for batch in body.batches() for line in batch)
        for event in server_sent_events(lines):
            yield event.cursor, cast("Status", _decoded(event.data.encode(), self.url))

    def log(
        self,
        job_id: str,
        *,
        attempt: int | None = None,
        from_seq: int = 1,
        limit: int = 0,
        follow: bool = False,
    ) -> Iterator[list[LogLine | LogEnd]]:
        """Lines of one attempt (the last one by default), those that came together at once.

        The end-of-log record comes last. Without it more may come; with `follow` then the connection broke:
        `follow_log` goes on by itself.
        """
        query = [
            ("attempt", str(attempt or "")),
            ("from_seq", str(from_seq)),
            ("limit", str(limit or "")),
            ("follow", "1" if follow else ""),
        ]
        # A job may be silent for as long as it likes.
        body = self._wire.stream(
            f"/v1/jobs/{job_id}/logs",
            query=query,
            headers={"Accept": "application/x-ndjson"},
            quiet_seconds=None if follow else CALL_SECONDS,
        )
        for batch in body.batches():
            yield [cast("LogLine | LogEnd", _decoded(line, self.url)) for line in batch if line.strip()]

    def _cancel(self, path: str, reason: str) -> None:
        self._wire.call("POST", path, body={"reason": reason} if reason else {})


def _decoded(data: bytes, url: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise StopProcess(f"{url}: a record in the answer is not JSON: {data[:80]!r}") from None
