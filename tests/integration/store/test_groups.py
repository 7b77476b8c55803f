"""Concurrency groups that cancel, and matrices that fail fast: by cancels written in the same transaction."""

from __future__ import annotations

from typing import Any

from penstock.core.ids import uuid4, uuid7
from penstock.runtime.clock import SystemClock
from penstock.store import jobs, requests
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.testing.graphs import ACTOR, World


def group(name: str, **more: Any) -> dict[str, Any]:
    return {"group": name, "cancel_in_progress": False, "queue": "all", **more}


def sweep(db: Database) -> Changes:
    """As the canceller does."""
    changes = Changes()
    waiting = requests.waiting_cancels(db, 1000)
    wishes = [(wish["tenant"], wish["pipeline_id"], wish["job_id"]) for wish in waiting]
    jobs.cancel_all(db, changes, wishes, actor=ACTOR)
    return changes


def test_a_newer_pipeline_cancels_those_before_it(db: Database) -> None:
    rule = group(uuid4(), cancel_in_progress=True)
    first = World(db, [{}, {}], [(0, 1)], concurrency=rule)
    first.claim(0)
    second = World(db, [{}], concurrency=rule)
    assert second.accepted.superseded == [("default", first.pipeline)]
    third = World(db, [{}], concurrency=rule)
    assert third.accepted.superseded == [("default", second.pipeline)], "the first one's is written already"
    assert third.claim(0) == []
    stops = sweep(db).stops
    assert [(stop["job_id"], stop["reason"]) for stop in stops] == [(first.jobs[0], "superseded")]
    assert (first.states(), second.states()) == (["CANCELLING", "CANCELLED"], ["CANCELLED"])
    assert (first.state(), second.state()) == ("CANCELLING", "CANCELLED")
    assert third.claim(0) == [], "the first may run still"
    first.finish(0, success=False)
    assert first.history(0)[-1] == (4, "CANCELLING", "CANCELLED", "superseded")
    status = requests.newest_status(db, [first.pipeline])[0]
    assert (status["state"], status["reason"]) == ("CANCELLED", "superseded")
    assert third.claim(0) == [0]
    assert sweep(db).jobs == []


def test_only_the_latest_waits_behind_what_runs(db: Database) -> None:
    rule = group(uuid4(), queue="latest")
    first = World(db, [{}], concurrency=rule)
    first.claim(0)
    second = World(db, [{}], concurrency=rule)
    assert second.accepted.superseded == []
    third = World(db, [{}], concurrency=rule)
    assert third.accepted.superseded == [("default", second.pipeline)]
    sweep(db)
    assert [world.states() for world in (first, second, third)] == [["ASSIGNED"], ["CANCELLED"], ["QUEUED"]]
    first.finish(0)
    assert third.claim(0) == [0]


def test_without_either_all_wait_in_order(db: Database) -> None:
    rule = group(uuid4())
    worlds = [World(db, [{}], concurrency=rule) for _ in range(3)]
    assert [world.accepted.superseded for world in worlds] == [[]] * 3
    while worlds:
        assert [world.claim(0) for world in worlds[::-1]] == [*[[]] * (len(worlds) - 1), [0]]
        worlds.pop(0).finish(0)


def test_who_is_superseded_does_not_enter_before_that_is_applied(db: Database) -> None:
    rule = group(uuid4(), queue="latest")
    first = World(db, [{}], concurrency=rule)
    first.claim(0)
    second, third = (World(db, [{}], concurrency=rule) for _ in range(2))
    first.finish(0)
    assert (second.claim(0), third.claim(0)) == ([], [])
    sweep(db)
    assert third.claim(0) == [0]


def test_the_order_of_a_group_is_that_of_acceptance_whatever_the_clock_says(db: Database) -> None:
    rule = group(uuid4(), cancel_in_progress=True)
    first = World(db, [{}], concurrency=rule)
    db.rows(
        "UPDATE concurrency_groups SET since = since + interval '1 hour' WHERE pipeline_id = %s::uuid",
        (first.pipeline,),
    )
    second = World(db, [{}], concurrency=rule)
    assert second.accepted.superseded == [("default", first.pipeline)]
    assert second.claim(0) == [], "the first one is before it still"
    third = World(db, [{}], concurrency=rule)
    assert third.accepted.superseded == [("default", second.pipeline)]
    sweep(db)
    assert third.claim(0) == [0]


def test_who_is_cancelling_is_not_superseded_once_more(db: Database) -> None:
    rule = group(uuid4(), cancel_in_progress=True)
    first = World(db, [{}], concurrency=rule)
    first.claim(0)
    second = World(db, [{}], concurrency=rule)
    sweep(db)
    third = World(db, [{}], concurrency=rule)
    assert first.state() == "CANCELLING"
    assert third.accepted.superseded == [("default", second.pipeline)]


def test_somebody_s_own_cancel_is_one(db: Database) -> None:
    rule = group(uuid4(), cancel_in_progress=True)
    first = World(db, [{}], concurrency=rule)
    requests.keep_cancel(db, "default", first.pipeline, "mine")
    World(db, [{}], concurrency=rule)
    sweep(db)
    assert first.history(0)[-1][3] == "cancelled"
    assert requests.newest_status(db, [first.pipeline])[0]["reason"] == "cancelled"


def cells(**more: Any) -> list[dict[str, Any]]:
    return [{"matrix": "test", "fail_fast": True, "retry_max": 0, **more} for _ in range(4)]


def test_a_cell_that_fails_cancels_the_others(db: Database) -> None:
    world = World(db, [*cells(), {}, {"matrix": "other", "fail_fast": True}], [(4, 3)])
    world.claim(0, 1)
    world.finish(0, success=False)
    wished = {one["job_id"] for one in world.changes.wishes}
    assert wished == set(world.jobs[1:4])
    sweep(db)
    assert world.states() == ["FAILED", "CANCELLING", "CANCELLED", "CANCELLED", "QUEUED", "QUEUED"]
    assert {world.history(number)[-1][3] for number in (1, 2, 3)} == {"fail-fast"}
    world.finish(1)
    assert world.history(1)[-1] == (4, "CANCELLING", "CANCELLED", "fail-fast")
    world.run(4)
    world.run(5)
    assert world.state() == "FAILED"
    assert requests.cancels_of(db, "default", world.pipeline) == []


def test_a_cell_that_may_fail_or_is_tried_again_cancels_nothing(db: Database) -> None:
    for more in ({"continue_on_error": True}, {"retry_max": 1}, {"fail_fast": False}, {"matrix": None}):
        world = World(db, cells(**more))
        world.run(0, success=False)
        assert (world.changes.wishes, requests.cancels_of(db, "default", world.pipeline)) == ([], [])


def test_what_is_cancelled_fails_nothing_fast(db: Database) -> None:
    world = World(db, cells())
    world.claim(0)
    jobs.cancel_all(db, world.changes, [("default", world.pipeline, world.jobs[0])], actor=ACTOR)
    world.finish(0, success=False)
    assert world.states() == ["CANCELLED", "QUEUED", "QUEUED", "QUEUED"]
    assert world.changes.wishes == []


def test_a_rerun_holds_and_joins_what_the_first_did(db: Database) -> None:
    rule = group(uuid4(), cancel_in_progress=True)
    lock = ["lock", uuid4(), 1]
    first = World(
        db, [{"holds": [lock], "matrix": "m", "fail_fast": True, "immediate": True}], concurrency=rule
    )
    first.run(0)
    second = World(db, [{}], concurrency=rule)
    again = requests.Rerun("default", uuid4(), "00", first.pipeline, uuid7(SystemClock().now()))
    changes = Changes()
    made = requests.rerun(db, changes, again, actor=ACTOR)
    assert made["superseded"] == [{"tenant": "default", "pipeline_id": second.pipeline}]
    (ready,) = changes.ready
    assert ready["holds"] == [["group", rule["group"], 1], lock]
    assert ready["immediate"]
    kept = db.rows(
        "SELECT matrix, fail_fast FROM job_specs WHERE pipeline_id = %s::uuid", (again.pipeline_id,)
    )
    assert kept == [("m", True)]
    sweep(db)
    assert second.states() == ["CANCELLED"]
