"""The advancer on a real Postgres: reports that Postgres refuses, and those that it takes beside them."""

from __future__ import annotations

import time
from typing import Any

import orjson

from penstock.events import topics
from penstock.kafka.records import Record
from penstock.runtime.metrics import Metrics
from penstock.store import audit, jobs
from penstock.store.database import Database
from penstock.store.jobs import Policy
from penstock.testing.graphs import World
from penstock_services.advancer.handle import Advancer


def advancer(db: Database) -> Advancer:
    return Advancer(
        db, actor="advancer-0", ttl_seconds=15, policy=Policy(), metrics=Metrics(), jitter=lambda: 0.0
    )


def report(world: World, number: int, **more: Any) -> dict[str, Any]:
    job_id = world.jobs[number]
    return {
        "job_id": job_id,
        "attempt": 1,
        "token": world.tokens[job_id],
        "kind": "ended",
        "success": True,
        **more,
    }


def record(world: World, *reports: dict[str, Any]) -> Record:
    value = {"pipeline_id": world.pipeline, "session_id": world.session, "reports": list(reports)}
    return Record(topics.JOBS_REPORTS.name, 0, 0, b"", orjson.dumps(value), None, 0)


def settled(hands: Advancer) -> list[list[Any]]:
    outcome = hands.tick(time.time())
    assert outcome is not None
    return [one for told in outcome.records for one in orjson.loads(told.value or b"")["settled"]]


def test_one_bad_report_does_not_take_its_neighbours_along(db: Database) -> None:
    world = World(db, [{}] * 5)
    world.claim(0, 1, 2, 3, 4)
    hands = advancer(db)
    reports = [report(world, number) for number in range(5)]
    reports[3]["exit_code"] = 10**12
    reports.append({**reports[4], "job_id": "no id at all", "token": "neither"})
    outcome = hands.step([record(world, *reports)], time.time())
    assert len(outcome.dead) == 1
    assert world.states() == ["SUCCESS", "SUCCESS", "SUCCESS", "RETRYING", "SUCCESS"]
    assert world.history(3)[-1][3] == "infra-error"
    assert len(settled(hands)) == 6, "also of the bad ones: their runner must not ask for ever"


def test_a_stale_end_beside_a_living_start_of_the_same_job_is_refused(db: Database) -> None:
    """Found by the chaos run: in one batch the living attempt vouched for the one that was taken back."""
    world = World(db, [{}])
    world.claim(0, lease_seconds=-1)
    stale = report(world, 0)
    item = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]]}]
    jobs.release(db, world.changes, item, expired=True, policy=Policy(), actor="test")
    world.claim(0)
    living = report(world, 0, attempt=2, kind="started", success=False)
    hands = advancer(db)
    hands.step([record(world, stale, living)], time.time())
    assert world.states() == ["RUNNING"]
    assert settled(hands) == [[world.jobs[0], 1, "ended", False], [world.jobs[0], 2, "started", True]]
    told = [row["late"] for row in audit.books(db).attempts if row["job_id"] == world.jobs[0]]
    assert told == ["ended, success"]


def test_a_reason_of_a_younger_runner_is_kept(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    hands = advancer(db)
    outcome = hands.step([record(world, report(world, 0, success=False, reason="out-of-tune"))], time.time())
    assert not outcome.dead
    assert world.states() == ["FAILED"]
    assert world.history(0)[-1][3] == "out-of-tune"


def test_a_failure_skips_all_that_hangs_on_it_in_one_step(db: Database) -> None:
    world = World(db, [{} for _ in range(20)], [(n, n + 1) for n in range(19)])
    world.claim(0)
    advancer(db).step([record(world, report(world, 0, success=False, reason="exit-code"))], time.time())
    assert world.states() == ["FAILED"] + ["SKIPPED"] * 19
    assert world.state() == "FAILED"


def test_who_was_told_to_wait_keeps_its_tenants_jobs_back_and_odd_names_harm_nobody(db: Database) -> None:
    name = f"registry-{time.time_ns()}"
    world = World(db, [{}, {}, {"holds": [["lock", name, None]]}])
    world.claim(0, 1)
    odd = [["a\0b", 5], ["n" * 1_000, 5], ["x", -1], ["x", 1e9], ["", 5]]
    reports = [
        report(world, 0, success=False, reason="exit-code", limited=[[name, 30], *odd]),
        report(world, 1, limited=odd),
    ]
    outcome = advancer(db).step([record(world, *reports)], time.time())
    assert (outcome.dead, world.states()[:2]) == ([], ["FAILED", "SUCCESS"])
    assert world.claim(2) == []
    (wait,) = world.waits
    assert (wait["kind"], wait["name"]) == ("limit", f"lock/{name}")
    assert 25 < wait["opens_in"] <= 30
    db.rows("DELETE FROM limits WHERE name = %s", (name,))


def test_a_cell_that_fails_cancels_the_others_at_once(db: Database) -> None:
    world = World(db, [{"matrix": "m", "fail_fast": True}] * 3 + [{}], [(2, 3)])
    world.claim(0, 1)
    hands = advancer(db)
    hands.step([record(world, report(world, 0, success=False, exit_code=1))], time.time())
    assert world.states() == ["FAILED", "CANCELLING", "CANCELLED", "SKIPPED"]
