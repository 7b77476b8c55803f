"""Cancelling: what is received, waits, runs, ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson
import pytest

from penstock.core.ids import uuid7
from penstock.events import topics

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

TWO = {"jobs": {"a": {"executor": "noop"}, "b": {"executor": "noop", "needs": ["a"]}}}


async def test_a_whole_pipeline(house: House) -> None:
    pipeline = await house.submit(TWO)
    told = await house.post(f"/v1/pipelines/{pipeline}/cancel", {"reason": "wrong branch"}, 202)
    assert told == {"pipeline_id": pipeline, "url": f"/v1/pipelines/{pipeline}"}
    (record,) = house.bus.records(topics.CANCEL_REQUESTED.name)
    assert record.key == pipeline.encode()
    assert orjson.loads(record.value or b"")["reason"] == "wrong branch"
    await house.until_state(pipeline, "CANCELLED")
    again = await house.post(f"/v1/pipelines/{pipeline}/cancel", None, 409)
    assert again["type"] == "urn:penstock:problem:already-terminal"
    assert again["state"] == "CANCELLED"


async def test_one_job(house: House) -> None:
    pipeline = await house.submit(TWO)
    jobs = await house.jobs_of(pipeline)
    first = jobs["a"]["job_id"]
    told = await house.post(f"/v1/jobs/{first}/cancel", None, 202)
    assert (told["job_id"], told["pipeline_id"]) == (first, pipeline)
    await house.until(lambda: house.state_of(first) == "CANCELLED")
    again = await house.post(f"/v1/jobs/{first}/cancel", None, 409)
    assert again["type"].endswith("already-terminal")


async def test_a_job_that_is_not_there(house: House) -> None:
    pipeline = await house.submit(TWO)
    for unknown in (uuid7(time.time()), pipeline):
        told = await house.post(f"/v1/jobs/{unknown}/cancel", None, 404)
        assert told["type"] == "urn:penstock:problem:not-found"
    assert house.bus.records(topics.CANCEL_REQUESTED.name) == []


async def test_what_runs_is_told_to_stop(house: House) -> None:
    pipeline = await house.submit(TWO)
    job_id = (await house.jobs_of(pipeline))["a"]["job_id"]
    token = house.claim(job_id)
    house.start(job_id, token)
    await house.post(f"/v1/jobs/{job_id}/cancel", None, 202)
    await house.until(lambda: house.state_of(job_id) == "CANCELLING")
    await house.post(f"/v1/jobs/{job_id}/cancel", None, 202)


async def test_what_is_only_received(house: House) -> None:
    house.control.pause()
    object.__setattr__(house.gateway.settings, "acceptance_wait_seconds", 0.05)
    pipeline = (await house.post("/v1/pipelines", {"definition": TWO}, 202))["pipeline_id"]
    await house.post(f"/v1/pipelines/{pipeline}/cancel", None, 202)
    house.control.go_on()
    await house.until_state(pipeline, "CANCELLED")


async def test_kafka_away(house: House) -> None:
    pipeline = await house.submit(TWO)
    house.bus.away = True
    await house.post(f"/v1/pipelines/{pipeline}/cancel", None, 202)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 202),
        (b"{}", 202),
        (b'{"reason": 5}', 422),
        (b'{"reasn": "x"}', 422),
        (b'{"reason": "\\u0000"}', 422),
        (b"[]", 422),
        (b"{", 400),
        (b"\xff", 400),
        (b'"' + b"x" * 70_000 + b'"', 413),
    ],
)
async def test_bodies(house: House, body: bytes, status: int) -> None:
    pipeline = await house.submit(TWO)
    headers = {"Content-Type": "application/json"}
    response = await house.call("POST", f"/v1/pipelines/{pipeline}/cancel", data=body, headers=headers)
    assert response.status == status, await response.text()
