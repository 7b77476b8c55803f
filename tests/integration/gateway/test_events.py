"""Server-sent events: the past, then live, each version once, to the terminal state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import orjson
from aiohttp import ClientResponse

from penstock.events.jobs import JobStatus
from penstock.events.pipelines import PipelineStatus
from penstock_services.gateway.cursors import event_cursor

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

TWO = {"jobs": {"a": {"executor": "noop"}, "b": {"executor": "noop", "needs": ["a"]}}}


class Event(NamedTuple):
    kind: str
    cursor: str
    record: dict[str, Any]


async def read(response: ClientResponse, count: int = 1_000_000) -> list[Event]:
    """The next events, at most so many; fewer when the stream ends."""
    events: list[Event] = []
    fields: dict[str, str] = {}
    while len(events) < count and (line := (await response.content.readline()).decode()):
        if line == "\n":
            if "data" in fields:
                events.append(Event(fields["event"], fields["id"], orjson.loads(fields["data"])))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.rstrip("\n").partition(": ")
            assert name in ("event", "id", "data", "retry"), line
            assert name not in fields, "one line a field"
            fields[name] = value
    return events


def versions(events: list[Event]) -> list[tuple[str, int, str]]:
    return [(one.record.get("name", ""), one.record["version"], one.record["state"]) for one in events]


async def test_the_past_of_what_has_ended(house: House) -> None:
    pipeline = await house.submit(TWO)
    jobs = await house.jobs_of(pipeline)
    house.run(jobs["a"]["job_id"])
    house.run(jobs["b"]["job_id"])
    response = await house.call("GET", f"/v1/pipelines/{pipeline}/events")
    assert response.headers["Content-Type"] == "text/event-stream"
    events = await read(response)
    for one in events:
        msgspec.convert(one.record, JobStatus if one.kind == "job" else PipelineStatus)
    assert len({(one.record.get("job_id"), one.record["version"]) for one in events}) == len(events)
    assert events[-1].kind == "pipeline"
    assert events[-1].record["state"] == "SUCCESS"
    of_a = [one.record["state"] for one in events if one.record.get("name") == "a"]
    assert of_a == ["QUEUED", "ASSIGNED", "RUNNING", "SUCCESS"]


async def test_live(house: House) -> None:
    pipeline = await house.submit(TWO)
    jobs = await house.jobs_of(pipeline)
    response = await house.call("GET", f"/v1/pipelines/{pipeline}/events")
    past = await read(response, 3)
    assert sorted(versions(past)) == [("a", 1, "QUEUED"), ("b", 1, "PENDING"), ("pipeline", 1, "PENDING")]
    house.run(jobs["a"]["job_id"])
    house.run(jobs["b"]["job_id"])
    rest = await read(response)
    assert rest[-1].record["state"] == "SUCCESS"
    assert sum(one.kind == "job" for one in rest) == 7
    assert len({(one.record.get("job_id"), one.record["version"]) for one in past + rest}) == 12


async def test_what_kafka_never_brought(house: House) -> None:
    pipeline = await house.submit({"jobs": {"a": {"executor": "noop"}}})
    jobs = await house.jobs_of(pipeline)
    response = await house.call("GET", f"/v1/pipelines/{pipeline}/events")
    await read(response, 2)
    house.run(jobs["a"]["job_id"], quietly=True)
    assert (await read(response))[-1].record["state"] == "SUCCESS"


async def test_received_and_then_accepted(house: House) -> None:
    house.control.pause()
    object.__setattr__(house.gateway.settings, "acceptance_wait_seconds", 0.05)
    pipeline = (await house.post("/v1/pipelines", {"definition": TWO}, 202))["pipeline_id"]
    response = await house.call("GET", f"/v1/pipelines/{pipeline}/events")
    house.control.go_on()
    assert len(await read(response, 3)) == 3
    response.close()


async def test_a_resume_overlaps_and_misses_nothing(house: House) -> None:
    pipeline = await house.submit(TWO)
    jobs = await house.jobs_of(pipeline)
    response = await house.call("GET", f"/v1/pipelines/{pipeline}/events")
    first = await read(response, 3)
    response.close()
    house.run(jobs["a"]["job_id"])
    house.run(jobs["b"]["job_id"])
    headers = {"Last-Event-ID": first[-1].cursor}
    second = await read(await house.call("GET", f"/v1/pipelines/{pipeline}/events", headers=headers))
    seen = {(one.record.get("job_id"), one.record["version"]) for one in first + second}
    assert len(seen) == 12
    odd = {"Last-Event-ID": "not ours"}
    third = await read(await house.call("GET", f"/v1/pipelines/{pipeline}/events", headers=odd))
    assert len(third) == 12


async def test_a_resume_long_after_repeats_only_the_end(house: House) -> None:
    pipeline = await house.submit({"jobs": {"a": {"executor": "noop"}}})
    jobs = await house.jobs_of(pipeline)
    house.run(jobs["a"]["job_id"])
    headers = {"Last-Event-ID": event_cursor("2999-01-01T00:00:00.000000Z")}
    events = await read(await house.call("GET", f"/v1/pipelines/{pipeline}/events", headers=headers))
    assert versions(events) == [("pipeline", 3, "SUCCESS")]


async def test_a_quiet_stream_says_that_it_lives(house: House) -> None:
    object.__setattr__(house.gateway.settings, "stream_heartbeat_seconds", 0.01)
    object.__setattr__(house.gateway.settings, "stream_sweep_seconds", 0.01)
    pipeline = await house.submit(TWO)
    response = await house.call("GET", f"/v1/pipelines/{pipeline}/events")
    async with asyncio.timeout(30):
        async for line in response.content:
            if line.startswith(b":"):
                break
    response.close()


async def test_many_readers_of_one_pipeline(house: House) -> None:
    pipeline = await house.submit({"jobs": {"a": {"executor": "noop"}}})
    jobs = await house.jobs_of(pipeline)
    streams = [await house.call("GET", f"/v1/pipelines/{pipeline}/events") for _ in range(10)]
    house.run(jobs["a"]["job_id"])
    for events in await asyncio.gather(*(read(stream) for stream in streams)):
        assert len(events) == 7
