"""Turns the events of a transaction into records: one place that knows topic, key, headers and value of each.

A transition is one record on the public topics; on the internal ones a record carries many jobs, because a
broker's cost is by the record (facts §11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, TypeVar

import orjson

from penstock.core.lanes import Lane
from penstock.events import jobs, pipelines, topics, workers
from penstock.events.codec import encode
from penstock.events.envelope import envelope, traceparent
from penstock.kafka.records import Outgoing

REPLAYED: Final = "replayed"
"""Header of a status record that is published again because Kafka was lost (protocol §7)."""
MOST_ROWS: Final = 500
MOST_BYTES: Final = 512 * 1024
"""An internal record is closed beyond so many rows or bytes; one larger row is a record of its own."""

Row = TypeVar("Row", dict[str, Any], jobs.Freed)


class Events(Protocol):
    """What `penstock.store.changes.Changes` holds."""

    pipelines: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    ready: list[dict[str, Any]]
    grants: list[dict[str, Any]]
    stops: list[dict[str, Any]]
    freed: list[dict[str, str]]


def records(events: Events, actor: str, *, replayed: bool = False) -> list[Outgoing]:
    """All records of these events, first those that somebody waits for to go on. `actor` is the service and
    replica: `ce_source`.
    """
    source = f"/penstock/{actor}".encode()
    extra = [(REPLAYED, b"1")] if replayed else []
    return [
        *_grants(events.grants, source),
        *_ready(events.ready, source),
        *_freed(events.freed, source),
        *_stops(events.stops, source),
        *(_pipeline_status(event, source, extra) for event in events.pipelines),
        *(_job_status(event, source, extra) for event in events.jobs),
    ]


def control(session_id: str, record: workers.Control, at: str, actor: str) -> Outgoing:
    """One record of `workers.control`."""
    headers = envelope(
        workers.CONTROL_TYPE, f"{session_id}/{at}", at, traceparent=traceparent(session_id),
        source=f"/penstock/{actor}".encode(),
    )  # fmt: skip
    return Outgoing(topics.WORKERS_CONTROL.name, session_id, encode(record), headers)


def waiting(news: Iterable[jobs.JobWaiting], actor: str) -> list[Outgoing]:
    """One record of `jobs.waiting` for each of these."""
    source = f"/penstock/{actor}".encode()
    return [
        Outgoing(
            topics.JOBS_WAITING.name,
            one.pipeline_id,
            encode(one),
            envelope(jobs.WAITING_TYPE, f"{one.job_id}/waiting/{one.at}", one.at,
                     traceparent=traceparent(one.pipeline_id, one.job_id), source=source),
        )
        for one in news
    ]  # fmt: skip


def undecided_hints(undecided: list[dict[str, str]], at: str, actor: str) -> list[Outgoing]:
    """Ask the advancer to decide about these jobs, {job_id, pipeline_id}; a record a pipeline."""
    groups: dict[str, list[str]] = {}
    for one in undecided:
        groups.setdefault(one["pipeline_id"], []).append(one["job_id"])
    source = f"/penstock/{actor}".encode()
    return [
        Outgoing(
            topics.JOBS_REPORTS.name,
            pipeline_id,
            encode(jobs.Reports(pipeline_id=pipeline_id, undecided=job_ids)),
            envelope(jobs.REPORT_TYPE, f"{pipeline_id}/undecided/{at}", at,
                     traceparent=traceparent(pipeline_id), source=source),
        )
        for pipeline_id, job_ids in groups.items()
    ]  # fmt: skip


def microseconds(at: str) -> str:
    """Postgres' text of a UTC time as RFC 3339 with six digits: it leaves trailing zeros out."""
    head, _, rest = at.partition("+")
    if rest != "00:00":
        raise ValueError(f"{at!r} is not in UTC: the database's TimeZone must be UTC")
    whole, _, fraction = head.partition(".")
    return f"{whole}.{fraction:0<6}Z"


def _job_status(event: dict[str, Any], source: bytes, extra: list[tuple[str, bytes]]) -> Outgoing:
    at = event["at"] = microseconds(event["at"])
    pipeline_id, job_id = event["pipeline_id"], event["job_id"]
    headers = envelope(
        jobs.STATUS_TYPE, f"{job_id}/{event['version']}", at, traceparent=traceparent(pipeline_id, job_id),
        source=source,
    )  # fmt: skip
    return Outgoing(topics.JOBS_STATUS.name, pipeline_id, orjson.dumps(event), headers + extra)


def _pipeline_status(event: dict[str, Any], source: bytes, extra: list[tuple[str, bytes]]) -> Outgoing:
    at = event["at"] = microseconds(event["at"])
    pipeline_id = event["pipeline_id"]
    headers = envelope(
        pipelines.STATUS_TYPE, f"{pipeline_id}/{event['version']}", at, traceparent=traceparent(pipeline_id),
        source=source,
    )  # fmt: skip
    return Outgoing(topics.PIPELINES_STATUS.name, pipeline_id, orjson.dumps(event), headers + extra)


def _ready(rows: list[dict[str, Any]], source: bytes) -> Iterator[Outgoing]:
    groups: dict[tuple[Lane, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["lane"], row["tenant"]), []).append(row)
    for (lane, tenant), group in groups.items():
        for first, rest in _by_size(group):
            headers = envelope(
                jobs.READY_TYPE, first["job_id"], first["queued_at"],
                traceparent=traceparent(first["pipeline_id"]), source=source,
            )  # fmt: skip
            yield Outgoing(topics.JOBS_READY[lane].name, tenant, b'{"jobs":[%b]}' % rest, headers)


def _freed(names: list[dict[str, str]], source: bytes) -> Iterator[Outgoing]:
    groups: dict[str, list[jobs.Freed]] = {}
    for one in names:
        groups.setdefault(one["tenant"], []).append(jobs.Freed(**one))
    for tenant, group in groups.items():
        for first, rest in _by_size(group):
            by = first.holder
            headers = envelope(jobs.READY_TYPE, f"{by}/freed", "", traceparent=traceparent(by), source=source)
            value = b'{"jobs":[],"freed":[%b]}' % rest
            yield Outgoing(topics.JOBS_READY["critical"].name, tenant, value, headers)


def _grants(rows: list[dict[str, Any]], source: bytes) -> Iterator[Outgoing]:
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["session_id"], row["n"]), []).append(row)
    for (session_id, n), group in groups.items():
        for first, rest in _by_size(group):
            value = b'{"session_id":"%b","n":%d,"grants":[%b]}' % (session_id.encode(), n, rest)
            headers = envelope(workers.GRANTS_TYPE, first["token"], "", source=source,
                               traceparent=traceparent(first["pipeline_id"]))  # fmt: skip
            yield Outgoing(topics.WORKERS_GRANTS.name, session_id, value, headers)


def _by_size(rows: Iterable[Row]) -> Iterator[tuple[Row, bytes]]:
    """Records' worth of them: the first of each, and all of it as items of a JSON array."""
    part: list[bytes] = []
    first: Row | None = None
    size = 0
    for row in rows:
        value = encode(row) if isinstance(row, jobs.Freed) else orjson.dumps(row)
        if first is not None and (len(part) == MOST_ROWS or size + len(value) > MOST_BYTES):
            yield first, b",".join(part)
            part, first, size = [], None, 0
        first = first or row
        part.append(value)
        size += len(value)
    if first is not None:
        yield first, b",".join(part)


def _stops(rows: list[dict[str, Any]], source: bytes) -> Iterator[Outgoing]:
    groups: dict[str, list[workers.Stop]] = {}
    for row in rows:
        stop = workers.Stop(row["job_id"], row["attempt"], row.get("reason", "cancelled"))
        groups.setdefault(row["session_id"], []).append(stop)
    for session_id, stops in groups.items():
        value = encode(workers.Control(session_id=session_id, stop=stops))
        headers = envelope(
            workers.CONTROL_TYPE, stops[0].job_id, "", traceparent=traceparent(session_id), source=source
        )
        yield Outgoing(topics.WORKERS_CONTROL.name, session_id, value, headers)
