"""Rerunning over HTTP: a new pipeline by one call, and everything that is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from penstock.core.ids import uuid4, uuid7
from penstock.events import topics
from penstock_services.gateway import views

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

CHAIN = {
    "name": "chain",
    "jobs": {
        "a": {"executor": "noop"},
        "b": {"executor": "noop", "needs": ["a"]},
        "c": {"executor": "noop", "needs": ["b"], "if": "always()"},
    },
}


def fits(data: Any, view: Any) -> None:
    """The data have exactly the fields that the document promises."""
    told = msgspec.convert(data, view)
    assert set(data) <= {field.encode_name for field in msgspec.structs.fields(type(told))}


def outbox_rows(house: House, pipeline_id: str) -> int:
    """Rows of the outbox that tell of a pipeline."""
    found: int = house.db.one("SELECT count(*) FROM outbox WHERE events::text LIKE %s", (f"%{pipeline_id}%",))
    return found


async def failed(house: House, **more: Any) -> tuple[str, dict[str, str]]:
    """A pipeline of which `a` succeeded, `b` FAILED and `c` ran; the ids of its jobs by name."""
    pipeline = await house.submit(CHAIN, **more)
    ids = {name: job["job_id"] for name, job in (await house.jobs_of(pipeline)).items()}
    house.run(ids["a"])
    house.run(ids["b"], success=False)
    house.resolve(ids["c"], "QUEUED")
    house.run(ids["c"])
    await house.until_state(pipeline, "FAILED")
    return pipeline, ids


async def test_failed_jobs_run_again(house: House) -> None:
    git = {"repo": "https://x", "sha": "a" * 40, "branch": "main"}
    pipeline, ids = await failed(house, git=git, inputs={"who": "me"}, request_id="first")
    told = await house.post(f"/v1/pipelines/{pipeline}/rerun", {"failed": True})
    fits(told, views.RerunReceipt)
    assert told["rerun_of"] == pipeline
    assert told["state"] == "PENDING"
    new = told["pipeline_id"]
    shown = await house.get(told["url"])
    fits(shown, views.PipelineView)
    assert (shown["rerun_of"], shown["git"], shown["name"]) == (pipeline, git, "chain")
    jobs = await house.jobs_of(new)
    assert {name: (job["state"], job["reason"], job["source_job_id"]) for name, job in jobs.items()} == {
        "a": ("SUCCESS", "reused", ids["a"]),
        "b": ("QUEUED", None, None),
        "c": ("PENDING", None, None),
    }
    found = await house.get(f"/v1/jobs/{jobs['a']['job_id']}")
    fits(found, views.JobDetail)
    assert [attempt["exit_code"] for attempt in found["attempts"]] == [0]
    assert await house.get(f"/v1/jobs/{jobs['a']['job_id']}/attempts") == {"attempts": found["attempts"]}
    house.run(jobs["b"]["job_id"])
    house.resolve(jobs["c"]["job_id"], "QUEUED")
    house.run(jobs["c"]["job_id"])
    await house.until_state(new, "SUCCESS")
    assert (await house.get(f"/v1/pipelines/{pipeline}"))["state"] == "FAILED"


async def test_the_records_are_published_and_the_outbox_row_goes(house: House) -> None:
    pipeline, ids = await failed(house)
    told = await house.post(f"/v1/pipelines/{pipeline}/rerun", {"from": ids["c"].upper()})
    new = told["pipeline_id"].encode()
    (status,) = [
        orjson.loads(record.value or b"")
        for record in house.bus.records(topics.PIPELINES_STATUS.name)
        if record.key == new
    ]
    assert (status["rerun_of"], status["version"], status["previous"]) == (pipeline, 1, None)
    jobs = [
        orjson.loads(record.value or b"")
        for record in house.bus.records(topics.JOBS_STATUS.name)
        if record.key == new
    ]
    assert sorted((job["name"], job["state"], job["previous"]) for job in jobs) == [
        ("a", "SUCCESS", None),
        ("b", "FAILED", None),
        ("c", "PENDING", None),
    ]
    (hint,) = [record for record in house.bus.records(topics.JOBS_REPORTS.name) if record.key == new]
    assert len(orjson.loads(hint.value or b"")["undecided"]) == 1
    assert outbox_rows(house, told["pipeline_id"]) == 0


async def test_a_rerun_cancels_those_whose_place_it_takes(house: House) -> None:
    grouped = {**CHAIN, "concurrency": {"group": uuid4(), "cancel-in-progress": True}}
    first = await house.submit(grouped)
    await house.post(f"/v1/pipelines/{first}/cancel", None, 202)
    await house.until_state(first, "CANCELLED")
    second = await house.submit(grouped)
    told = await house.post(f"/v1/pipelines/{first}/rerun", None)
    asked = [record.key for record in house.bus.records(topics.CANCEL_REQUESTED.name)]
    assert sorted(asked) == [first.encode(), second.encode()]
    await house.until_state(second, "CANCELLED")
    assert (await house.get(f"/v1/pipelines/{second}"))["reason"] == "superseded"
    assert (await house.get(f"/v1/pipelines/{told['pipeline_id']}"))["state"] == "PENDING"


async def test_kafka_away(house: House) -> None:
    pipeline, _ = await failed(house)
    house.bus.away = True
    told = await house.post(f"/v1/pipelines/{pipeline}/rerun")
    house.bus.away = False
    assert told["state"] == "PENDING"
    assert outbox_rows(house, told["pipeline_id"]) == 1, "the relay will publish it"


async def test_an_equal_repeat_and_a_conflict(house: House) -> None:
    pipeline, ids = await failed(house)
    headers = {"Idempotency-Key": uuid4()}
    path = f"/v1/pipelines/{pipeline}/rerun"
    first = await house.post(path, {"failed": True}, headers=headers)
    assert first["request_id"] == headers["Idempotency-Key"]
    assert await house.post(path, {"failed": True}, 200, headers=headers) == first
    told = await house.post(path, {"from": ids["a"]}, 409, headers=headers)
    assert told["type"] == "urn:penstock:problem:request-conflict"
    assert told["pipeline_id"] == first["pipeline_id"]
    request = await house.get(f"/v1/requests/{headers['Idempotency-Key']}")
    assert (request["pipeline_id"], request["state"]) == (first["pipeline_id"], "PENDING")
    submitted = await house.post("/v1/pipelines", {"definition": CHAIN}, 409, headers=headers)
    assert submitted["type"] == "urn:penstock:problem:request-conflict"


async def test_without_a_key_each_call_is_a_rerun(house: House) -> None:
    pipeline, _ = await failed(house)
    made = [await house.post(f"/v1/pipelines/{pipeline}/rerun", {}) for _ in range(2)]
    assert made[0]["pipeline_id"] != made[1]["pipeline_id"]


async def test_what_is_not_there_or_another_tenants(house: House) -> None:
    pipeline, _ = await failed(house)
    for path, token in (
        (f"/v1/pipelines/{uuid7(time.time())}/rerun", "acme"),
        (f"/v1/pipelines/{pipeline}/rerun", "rival"),
        ("/v1/pipelines/nonsense/rerun", "acme"),
    ):
        assert (await house.post(path, None, 404, token=token))["type"].endswith("not-found")
    await house.post(f"/v1/pipelines/{pipeline}/rerun", None, 403, token="reader")
    await house.post(f"/v1/pipelines/{pipeline}/rerun", None, 401, token=None)


async def test_what_has_not_ended_or_has_nothing_to_run(house: House) -> None:
    going = await house.submit(CHAIN)
    told = await house.post(f"/v1/pipelines/{going}/rerun", None, 409)
    assert (told["type"], told["state"]) == ("urn:penstock:problem:not-terminal", "PENDING")
    fine = await house.submit({"jobs": {"a": {"executor": "noop"}}})
    house.run((await house.jobs_of(fine))["a"]["job_id"])
    told = await house.post(f"/v1/pipelines/{fine}/rerun", {"failed": True}, 409)
    assert told["type"] == "urn:penstock:problem:nothing-to-rerun"
    assert "no job of it FAILED" in told["detail"]
    refused, key = uuid7(time.time()), uuid4()
    house.reject(
        {"id": refused, "tenant": "acme", "key": key, "hash": "00", "name": "", "reason": "invalid",
         "errors": [], "trigger": None, "git": None, "conflict": False}
    )  # fmt: skip
    told = await house.post(f"/v1/pipelines/{refused}/rerun", None, 409)
    assert "REJECTED" in told["detail"]


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b'{"failed": 5}', 422, "failed"),
        (b'{"form": "x"}', 422, "form"),
        (b'{"from": "x"}', 422, "from"),
        (b'{"from": "%s"}' % uuid7(0).encode(), 422, "from"),
        (b'{"from": "%s", "failed": true}' % uuid7(0).encode(), 422, "from"),
        (b'{"from": null, "failed": false}', 201, ""),
        (b"[]", 422, ""),
        (b"{", 400, ""),
        (b"", 201, ""),
        (b" " * 70_000, 413, ""),
    ],
)
async def test_bodies(house: House, body: bytes, status: int, path: str) -> None:
    pipeline, _ = await failed(house)
    headers = {"Content-Type": "application/json"}
    response = await house.call("POST", f"/v1/pipelines/{pipeline}/rerun", data=body, headers=headers)
    assert response.status == status, await response.text()
    if path:
        assert (await response.json(content_type=None))["errors"][0]["path"] == path


@pytest.mark.parametrize("key", [" ", "x" * 129, "a\x01b"])
async def test_keys_that_name_nothing(house: House, key: str) -> None:
    pipeline, _ = await failed(house)
    try:
        told = await house.post(
            f"/v1/pipelines/{pipeline}/rerun", None, 422, headers={"Idempotency-Key": key}
        )
    except ValueError:
        pytest.skip("the client itself refuses to send it")
    assert told["errors"][0]["path"] == "Idempotency-Key"


async def test_a_definition_by_reference(house: House) -> None:
    response = await house.call(
        "POST", "/v1/definitions", data=orjson.dumps(CHAIN), headers={"Content-Type": "application/json"}
    )
    reference = await response.json()
    told = await house.post("/v1/pipelines", {"definition_ref": reference})
    pipeline = told["pipeline_id"]
    await house.post(f"/v1/pipelines/{pipeline}/cancel", None, 202)
    await house.until_state(pipeline, "CANCELLED")
    again = (await house.post(f"/v1/pipelines/{pipeline}/rerun"))["pipeline_id"]
    assert {job["state"] for job in (await house.jobs_of(again)).values()} == {"QUEUED", "PENDING"}
    kept = "SELECT sha256 FROM pipeline_definitions WHERE pipeline_id = %s::uuid"
    assert house.db.one(kept, (again,)) == house.db.one(kept, (pipeline,)) == reference["sha256"]


async def test_a_job_that_was_taken_over_is_terminal(house: House) -> None:
    pipeline, _ = await failed(house)
    again = (await house.post(f"/v1/pipelines/{pipeline}/rerun", {"failed": True}))["pipeline_id"]
    reused = (await house.jobs_of(again))["a"]["job_id"]
    told = await house.post(f"/v1/jobs/{reused}/cancel", None, 409)
    assert told["state"] == "SUCCESS"
    await house.post(f"/v1/pipelines/{again}/cancel", None, 202)
    await house.until_state(again, "CANCELLED")
    assert house.state_of(reused) == "SUCCESS"
