"""Asking for pipelines: 201, 200, 202, 409, 4xx; listing and showing them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from penstock.core.ids import uuid7
from penstock.events import topics
from penstock.events.envelope import header
from penstock.store import requests
from penstock_services.gateway import views

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

HELLO = {"name": "hello", "jobs": {"a": {"executor": "noop"}}}
DIAMOND = {
    "name": "diamond",
    "jobs": {
        "a": {"executor": "noop"},
        "b": {"executor": "noop", "needs": ["a"]},
        "c": {"executor": "noop", "needs": ["a"]},
        "d": {"executor": "noop", "needs": ["b", "c"]},
    },
}
FILE = {"Content-Type": "application/yaml"}
YAML = "name: hello\njobs:\n  a: {executor: noop}\n"


def fits(data: Any, view: Any) -> None:
    """The data have exactly the fields that the document promises."""
    told = msgspec.convert(data, view)
    assert set(data) <= {field.encode_name for field in msgspec.structs.fields(type(told))}


async def test_accepted(house: House) -> None:
    async with await house.call("POST", "/v1/pipelines", json={"definition": HELLO}) as response:
        assert response.status == 201
        told = await response.json()
        assert response.headers["Location"] == told["url"] == f"/v1/pipelines/{told['pipeline_id']}"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in response.headers
    fits(told, views.Receipt)
    assert told["state"] == "PENDING"
    shown = await house.get(told["url"])
    fits(shown, views.PipelineView)
    assert shown["counts"] == {"QUEUED": 1}
    assert shown["name"] == "hello"


async def test_the_record_has_key_and_envelope(house: House) -> None:
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    told = await house.post("/v1/pipelines", {"definition": HELLO}, headers={"traceparent": trace})
    (record,) = house.bus.records(topics.PIPELINES_REQUESTED.name)
    assert record.key == b"acme"
    assert header(record.headers, "ce_id") == told["request_id"]
    assert header(record.headers, "ce_type") == "dev.penstock.pipeline.requested.v1"
    assert header(record.headers, "traceparent") == trace


async def test_an_equal_repeat_changes_nothing(house: House) -> None:
    first = await house.post("/v1/pipelines", {"definition": HELLO, "request_id": "same"})
    again = await house.post("/v1/pipelines", {"definition": HELLO, "request_id": "same"}, 200)
    assert first == again
    yaml = await house.call("POST", "/v1/pipelines?request_id=same", data=YAML, headers=FILE)
    assert yaml.status == 200
    assert len(house.bus.records(topics.PIPELINES_REQUESTED.name)) == 1


async def test_another_body_under_the_key_is_refused(house: House) -> None:
    first = await house.post("/v1/pipelines", {"definition": HELLO, "request_id": "once"})
    told = await house.post("/v1/pipelines", {"definition": DIAMOND, "request_id": "once"}, 409)
    assert told["type"] == "urn:penstock:problem:request-conflict"
    assert told["pipeline_id"] == first["pipeline_id"]


async def test_the_header_beats_the_body(house: House) -> None:
    body = {"definition": HELLO, "request_id": "in-body"}
    told = await house.post("/v1/pipelines", body, headers={"Idempotency-Key": "in/header ü"})
    assert told["request_id"] == "in/header ü"
    found = await house.get("/v1/requests/in%2Fheader%20%C3%BC")
    fits(found, views.RequestView)
    assert found["pipeline_id"] == told["pipeline_id"]
    await house.get("/v1/requests/in-body", 404)


async def test_keys_belong_to_tenants(house: House) -> None:
    mine = await house.post("/v1/pipelines", {"definition": HELLO, "request_id": "shared"})
    theirs = await house.post("/v1/pipelines", {"definition": DIAMOND, "request_id": "shared"}, token="rival")
    assert mine["pipeline_id"] != theirs["pipeline_id"]


async def test_a_clients_own_id(house: House) -> None:
    chosen = uuid7(time.time())
    told = await house.post("/v1/pipelines", {"definition": HELLO, "pipeline_id": chosen})
    assert told["pipeline_id"] == chosen
    taken = await house.post("/v1/pipelines", {"definition": HELLO, "pipeline_id": chosen}, 409)
    assert "in use" in taken["detail"]
    old = await house.post(
        "/v1/pipelines", {"definition": HELLO, "pipeline_id": uuid7(time.time() - 100_000)}, 422
    )
    assert old["errors"][0]["path"] == "pipeline_id"


async def test_yaml_with_query_fields(house: House) -> None:
    query = (
        "priority=9&trigger=push&repo=https%3A%2F%2Fx&sha=" + "a" * 40 + "&branch=main&ref=refs/heads/main"
        "&request_id=y1&input=who=me=you&input=b=&env=A=1"
    )
    response = await house.call(
        "POST", f"/v1/pipelines?{query}", data=YAML, headers={"Content-Type": "text/yaml; charset=utf-8"}
    )
    told = await response.json()
    assert response.status == 201, told
    shown = await house.get(told["url"])
    assert shown["trigger"] == "push"
    assert shown["git"] == {
        "repo": "https://x", "sha": "a" * 40, "branch": "main", "ref": "refs/heads/main"
    }  # fmt: skip
    assert (await house.jobs_of(told["pipeline_id"]))["a"]["lane"] == "critical"


async def test_a_large_definition_travels_by_reference(house: House) -> None:
    jobs = {f"job-{n}": {"run": "x" * 100, "needs": [f"job-{n - 1}"] if n else []} for n in range(900)}
    told = await house.post("/v1/pipelines", {"definition": {"jobs": jobs}, "request_id": "large"})
    await house.post("/v1/pipelines", {"definition": {"jobs": jobs}, "request_id": "large"}, 200)
    (record,) = house.bus.records(topics.PIPELINES_REQUESTED.name)
    assert record.value is not None
    assert len(record.value) < 1_000
    assert b"definition_ref" in record.value
    levels = [job["level"] for job in (await house.get(told["url"] + "/jobs"))["jobs"]]
    assert levels == list(range(900))


async def test_a_large_yaml_file_keeps_its_lines(house: House) -> None:
    text = "jobs:\n" + "".join(f"  j{n}:\n    run: {'x' * 200}\n" for n in range(400))
    good = await house.call("POST", "/v1/pipelines", data=text, headers=FILE)
    assert good.status == 201, await good.text()
    bad = await house.call("POST", "/v1/pipelines", data=text + "  z: {runn: x}\n", headers=FILE)
    assert bad.status == 422
    assert (await bad.json())["errors"][0]["line"] == 802


async def test_a_definition_stored_before(house: House) -> None:
    response = await house.call("POST", "/v1/definitions", data=YAML, headers=FILE)
    assert response.status == 201
    reference = await response.json()
    fits(reference, views.DefinitionReceipt)
    await house.post("/v1/pipelines", {"definition_ref": reference})
    refused = await house.post("/v1/pipelines", {"definition_ref": reference}, 422, token="rival")
    assert refused["errors"][0]["path"] == "definition_ref.sha256"


async def test_not_accepted_in_time(house: House) -> None:
    house.control.pause()
    object.__setattr__(house.gateway.settings, "acceptance_wait_seconds", 0.05)
    told = await house.post("/v1/pipelines", {"definition": HELLO, "request_id": "slow"}, 202)
    assert told["state"] == "RECEIVED"
    shown = await house.get(told["url"])
    fits(shown, views.PipelineView)
    assert shown["state"] == "RECEIVED"
    assert await house.jobs_of(told["pipeline_id"]) == {}
    assert (await house.get("/v1/requests/slow"))["state"] == "RECEIVED"
    again = await house.post("/v1/pipelines", {"definition": HELLO, "request_id": "slow"}, 200)
    assert again["state"] == "RECEIVED"
    await house.post(f"/v1/pipelines/{told['pipeline_id']}/cancel", None, 202)


async def test_kafka_away(house: House) -> None:
    house.bus.away = True
    object.__setattr__(house.gateway.settings, "acceptance_wait_seconds", 0.05)
    told = await house.post("/v1/pipelines", {"definition": HELLO}, 202)
    assert told["state"] == "RECEIVED"
    assert (await house.get(told["url"]))["state"] == "RECEIVED"


async def test_accepted_though_the_status_record_never_came(house: House) -> None:
    """The feed is a hint: Postgres is looked into meanwhile."""
    house.gateway.watch.hand_out = lambda records: None  # type: ignore[method-assign]
    await house.post("/v1/pipelines", {"definition": HELLO})


@pytest.mark.parametrize(("reason", "status"), [("invalid", 422), ("quota-exceeded", 429)])
async def test_rejected_by_intake(house: House, reason: str, status: int) -> None:
    """What was good here may be refused there; the answer is the refusal."""
    house.control.pause()
    gone = f"gone-{status}"
    asked = asyncio.create_task(
        house.call("POST", f"/v1/pipelines?request_id={gone}", data=YAML, headers=FILE)
    )
    known = await house.until(lambda: requests.known(house.db, [("acme", gone)]))
    (row,) = known.values()
    house.reject(
        {
            "id": row["pipeline_id"],
            "tenant": "acme",
            "key": gone,
            "hash": row["hash"],
            "name": "hello",
            "reason": reason,
            "errors": [{"message": "no", "path": "jobs.a"}],
            "conflict": False,
        }
    )
    response = await asked
    told = await response.json()
    assert response.status == status, told
    assert ("Retry-After" in response.headers) == (status == 429)
    assert (told["reason"], told["errors"]) == (reason, [{"message": "no", "path": "jobs.a"}])
    found = await house.get(f"/v1/requests/{gone}")
    assert found["state"] == "REJECTED"
    shown = await house.get(found["url"])
    assert shown["errors"] == told["errors"]
    assert shown["terminal"]
    again = await house.call("POST", f"/v1/pipelines?request_id={gone}", data=YAML, headers=FILE)
    assert again.status == status
    listed = await house.get("/v1/pipelines?state=REJECTED")
    # Other tests share the tenant and have refusals of their own.
    assert gone in [one["request_id"] for one in listed["pipelines"]]
    assert {one["state"] for one in listed["pipelines"]} == {"REJECTED"}


async def test_pages_are_stable(house: House) -> None:
    known = [await house.submit(HELLO, git={"branch": "pages", "repo": "r"}) for _ in range(5)]
    seen: list[str] = []
    path = "/v1/pipelines?branch=pages&repo=r&limit=2"
    cursor = ""
    while True:
        page = await house.get(path + cursor)
        for one in page["pipelines"]:
            fits(one, views.PipelineView)
        seen += [one["pipeline_id"] for one in page["pipelines"]]
        # What comes meanwhile is newer than the cursor: no page shifts.
        await house.submit(HELLO, git={"branch": "pages", "repo": "r"})
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == known[::-1]


async def test_lists_are_filtered(house: House) -> None:
    pipeline = await house.submit(HELLO, git={"branch": "filtered"})
    job = (await house.jobs_of(pipeline))["a"]
    house.run(job["job_id"])
    await house.submit(HELLO, git={"branch": "filtered"})

    async def count(query: str) -> int:
        return len((await house.get(f"/v1/pipelines?branch=filtered{query}"))["pipelines"])

    assert await count("") == 2
    assert await count("&state=SUCCESS") == 1
    assert await count("&state=SUCCESS&state=PENDING") == 2
    assert await count("&state=REJECTED") == 0
    assert await count("&repo=nowhere") == 0


async def test_jobs_with_what_they_need(house: House) -> None:
    pipeline = await house.submit(DIAMOND)
    told = await house.get(f"/v1/pipelines/{pipeline}/jobs")
    for job in told["jobs"]:
        fits(job, views.GraphJobView)
    assert [(job["name"], job["level"], job["needs"]) for job in told["jobs"]] == [
        ("a", 0, []),
        ("b", 1, ["a"]),
        ("c", 1, ["a"]),
        ("d", 2, ["b", "c"]),
    ]


async def test_a_job_and_its_attempts(house: House) -> None:
    pipeline = await house.submit(
        {"jobs": {"a": {"executor": "noop", "retry": {"max": 1}}, "b": {"executor": "noop", "needs": ["a"]}}}
    )
    jobs = await house.jobs_of(pipeline)
    job_id = jobs["a"]["job_id"]
    token = house.claim(job_id)
    shown = await house.get(f"/v1/jobs/{job_id}")
    fits(shown, views.JobDetail)
    (living,) = shown["attempts"]
    fits(living, views.AttemptView)
    assert (living["state"], living["ended_at"]) == ("ASSIGNED", None)
    house.start(job_id, token)
    house.finish(job_id, token, success=False)
    shown = await house.get(f"/v1/jobs/{job_id}")
    assert shown["state"] == "RETRYING"
    (ended,) = (await house.get(f"/v1/jobs/{job_id}/attempts"))["attempts"]
    assert (ended["exit_code"], ended["reason"], ended["last_seq"]) == (1, "exit-code", 3)
    assert ended["started_at"] <= ended["ended_at"]
    other = await house.get(f"/v1/jobs/{jobs['b']['job_id']}")
    assert other["needs"] == ["a"]
    assert other["attempts"] == []
    assert other["queued_at"] is None


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("state=RUNING", "state"),
        ("cursor=abc", "cursor"),
        ("cursor=%00", "cursor"),
        ("branch=%00", "branch"),
        ("branch=" + "x" * 3000, "branch"),
        ("brnch=x", "brnch"),
    ],
)
async def test_senseless_queries(house: House, query: str, path: str) -> None:
    told = await house.get(f"/v1/pipelines?{query}", 422)
    assert told["errors"][0]["path"] == path
    assert told["type"] == "urn:penstock:problem:invalid"
