"""Why a job is in its state, what a job shows of it, and raising its lane."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from penstock.core.ids import uuid4, uuid7
from penstock.events import topics
from penstock.store import jobs, workers
from penstock_services.gateway import views

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

TWO = {"jobs": {"a": {"executor": "noop"}, "b": {"executor": "noop", "needs": ["a"]}}}


@pytest.fixture
def pool() -> str:
    """Nobody else's: what waits there is counted."""
    return f"pool-{uuid4()[:8]}"


def runner(house: House, pool: str, *, slots: int, held: int) -> None:
    beat = {
        "session_id": uuid7(time.time()), "n": 1, "kind": "runner", "name": "box", "pool": pool,
        "state": "BUSY", "slots": slots, "capacity": {}, "labels": [], "attempts": held,
    }  # fmt: skip
    workers.renew(house.db, [beat], [], ttl_seconds=60)


def say(house: House, job_id: str, **why: Any) -> None:
    jobs.explain(house.db, [{"job_id": job_id, "why": {"at": "2026-01-02T03:04:05.000000Z", **why}}])


async def explained(house: House, job_id: str, **more: Any) -> views.Explanation:
    found = await house.get(f"/v1/jobs/{job_id}/explain", **more)
    return msgspec.convert(found, views.Explanation)


async def test_a_place_in_the_queue(house: House, pool: str) -> None:
    job = {"executor": "noop", "runs-on": {"pool": pool}}
    definition = {"jobs": {name: {**job, "priority": lane} for name, lane in
                           (("a", "normal"), ("b", "high"), ("c", "normal"), ("d", "critical"))}}  # fmt: skip
    found = await house.jobs_of(await house.submit(definition))
    told = await explained(house, found["c"]["job_id"])
    assert (told.state, told.pool, told.lane, told.reason) == ("QUEUED", pool, "normal", "queue")
    assert told.text.endswith("; no runner is there")
    runner(house, pool, slots=8, held=11)
    runner(house, pool, slots=4, held=0)
    places = {name: await explained(house, job["job_id"]) for name, job in found.items()}
    assert (places["d"].ahead, places["b"].ahead) == (0, 1)
    assert sorted((places[name].ahead, places[name].position) for name in "ac") == [(2, 1), (3, 2)]
    assert places["d"].detail == {"runners": 2, "slots": 12, "taken": 8}
    assert "position 1 in lane critical" in places["d"].text


async def test_what_its_dispatcher_said(house: House) -> None:
    holder = (await house.jobs_of(await house.submit({"name": "shop", **TWO})))["a"]["job_id"]
    job = {"executor": "noop", "locks": ["db", {"name": "cache", "mode": "shared"}], "resources": {"cpu": 2}}
    pipeline = await house.submit({"jobs": {"a": job}})
    waiting = (await house.jobs_of(pipeline))["a"]
    assert waiting["waiting"] == {"reason": "queue", "text": "nothing but the jobs before it"}
    assert waiting["resources"] == {"cpu": 2}
    assert (waiting["immediate"], waiting["locks"]) == (
        False, [{"name": "cache", "mode": "shared"}, {"name": "db", "mode": "exclusive"}],
    )  # fmt: skip
    text = f"lock db (exclusive) is held by job {holder}"
    say(house, waiting["job_id"], reason="lock", text=text, detail={"name": "db", "held_by": holder})
    told = await explained(house, waiting["job_id"])
    assert (told.reason, told.text) == (
        "lock",
        f"lock db (exclusive) is held by job a of pipeline shop ({holder})",
    )
    assert told.detail["holder"]["name"] == "a"
    assert told.position is None
    shown = {"reason": "lock", "text": text}
    assert (await house.jobs_of(pipeline))["a"]["waiting"] == shown
    assert (await house.get(f"/v1/jobs/{waiting['job_id']}"))["waiting"] == shown


async def test_who_is_anothers_has_no_name(house: House) -> None:
    """Ids in what dispatchers say are the tenant's own; were one another's, nothing would be told of it."""
    theirs = await house.post("/v1/pipelines", {"definition": TWO}, token="rival")
    page = await house.get(f"/v1/pipelines/{theirs['pipeline_id']}/jobs", token="rival")
    job_id = (await house.jobs_of(await house.submit(TWO)))["a"]["job_id"]
    detail = {"held_by": page["jobs"][0]["job_id"]}
    say(house, job_id, reason="lock", text="held", detail=detail)
    assert (await explained(house, job_id)).detail == detail
    say(house, job_id, reason="group", text="held", detail={"held_by": theirs["pipeline_id"]})
    assert "holder" not in (await explained(house, job_id)).detail


async def test_a_group_that_is_held(house: House) -> None:
    first = await house.submit({"name": "first", **TWO})
    job_id = (await house.jobs_of(await house.submit(TWO)))["a"]["job_id"]
    text = f"concurrency group deploy is held by pipeline {first}"
    say(house, job_id, reason="group", text=text, detail={"held_by": first})
    told = await explained(house, job_id)
    assert told.text == f"concurrency group deploy is held by pipeline first ({first})"
    assert told.detail["holder"] == {"pipeline_id": first, "pipeline": "first"}


async def test_from_its_needs_to_its_end(house: House) -> None:
    found = await house.jobs_of(await house.submit(TWO))
    first, second = found["a"]["job_id"], found["b"]["job_id"]
    told = await explained(house, second)
    assert (told.reason, told.text, told.queued_at) == ("needs", "it needs a to end first", None)
    assert told.detail["needs"] == [{"job_id": first, "name": "a", "state": "QUEUED"}]
    token = house.claim(first)
    told = await explained(house, first)
    assert (told.state, told.reason, told.detail["started_at"]) == ("ASSIGNED", None, None)
    house.start(first, token)
    told = await explained(house, first)
    assert (told.state, told.text) == (
        "RUNNING",
        f"it runs on {told.detail['worker']} since {told.detail['started_at']}",
    )
    shown = await house.get(f"/v1/jobs/{first}")
    assert shown["waiting"] is None
    assert shown["attempts"][0]["unblocked_at"] <= shown["attempts"][0]["assigned_at"]
    house.finish(first, token, success=False)
    told = await explained(house, first)
    assert (told.state, told.reason) == ("FAILED", "exit-code")
    assert told.text.endswith(", exit-code, exit code 1")
    assert (await house.get(f"/v1/jobs/{first}"))["attempts"][0]["unblocked_at"] is not None


async def test_a_job_that_is_tried_again(house: House) -> None:
    twice = {"jobs": {"a": {"executor": "noop", "retry": {"max": 1}}}}
    job_id = (await house.jobs_of(await house.submit(twice)))["a"]["job_id"]
    house.run(job_id, success=False)
    told = await explained(house, job_id)
    assert (told.state, told.reason) == ("RETRYING", "retry")
    assert told.text == f"it is tried again at {told.detail['retry_at']}"


async def test_a_lane_is_raised_and_dispatchers_hear_of_it(house: House) -> None:
    found = await house.jobs_of(await house.submit(TWO))
    first, second = found["a"]["job_id"], found["b"]["job_id"]
    told = await house.post(f"/v1/jobs/{first}/promote", None, 200)
    assert told == {"job_id": first, "lane": "high", "promoted": True, "url": f"/v1/jobs/{first}"}
    hints = [orjson.loads(one.value or b"") for one in house.bus.records(topics.JOBS_READY["high"].name)]
    assert [(job["job_id"], job["lane"]) for hint in hints for job in hint["jobs"]] == [(first, "high")]
    assert house.db.one("SELECT count(*) FROM outbox WHERE events::text LIKE %s", (f"%{first}%high%",)) == 0
    again = await house.post(f"/v1/jobs/{first}/promote", {"lane": "high"}, 200)
    assert again == {**told, "promoted": False}
    assert (await house.post(f"/v1/jobs/{second}/promote", {"lane": "critical"}, 200))["promoted"]
    assert (await house.get(f"/v1/jobs/{second}"))["lane"] == "critical", "also of one that is not queued yet"
    lower = await house.post(f"/v1/jobs/{second}/promote", {"lane": "high"}, 409)
    assert lower["type"].endswith("lane-is-higher")


async def test_what_cannot_be_raised(house: House) -> None:
    job_id = (await house.jobs_of(await house.submit({"jobs": {"a": {"executor": "noop"}}})))["a"]["job_id"]
    for body in ({"lane": "normal"}, {"lane": 3}, {"lane": None}, {"line": "high"}):
        assert (await house.post(f"/v1/jobs/{job_id}/promote", body, 422))["errors"]
    house.run(job_id)
    ended = await house.post(f"/v1/jobs/{job_id}/promote", None, 409)
    assert ended["type"].endswith("already-terminal")
    await house.post(f"/v1/jobs/{uuid7(time.time())}/promote", None, 404)


async def test_without_kafka_a_lane_is_raised_all_the_same(house: House) -> None:
    job_id = (await house.jobs_of(await house.submit(TWO)))["a"]["job_id"]
    house.bus.away = True
    await house.post(f"/v1/jobs/{job_id}/promote", {"lane": "critical"}, 200)
    assert house.db.one("SELECT lane FROM ready WHERE job_id = %s::uuid", (job_id,)) == "critical"
