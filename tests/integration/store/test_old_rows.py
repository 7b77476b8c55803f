"""What is deleted by its age, and what stays however old it is."""

from __future__ import annotations

import pytest

from penstock.core.ids import uuid4, uuid7
from penstock.runtime.clock import SystemClock
from penstock.store import jobs, logs, policies, requests
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.store.logs import IndexItem
from penstock.testing.graphs import ACTOR, World

DAYS = 86_400.0


@pytest.fixture(autouse=True)
def _nothing_else_is_old(db: Database) -> None:
    while requests.forget(db, older_than=90 * DAYS, limit=1000):
        pass


def forget(db: Database, limit: int = 1000) -> int:
    return requests.forget(db, older_than=90 * DAYS, limit=limit)


def receive(db: Database, key: str, pipeline_id: str) -> None:
    requests.receive(
        db, tenant="default", key=key, digest="00", pipeline_id=pipeline_id, body="{}", publish_seconds=60
    )


def age(db: Database, key: str, days: int = 91) -> None:
    db.rows(
        "UPDATE requests SET received_at = clock_v1() - make_interval(days => %s) WHERE key = %s", (days, key)
    )


def known(db: Database, key: str) -> bool:
    return bool(requests.known(db, [("default", key)]))


def test_keys_go_after_ninety_days_unless_their_pipeline_is_open(db: Database) -> None:
    done, going, young = World(db, [{}]), World(db, [{}]), World(db, [{}])
    done.run(0)
    young.run(0)
    age(db, done.key)
    age(db, going.key)
    age(db, young.key, 89)
    assert forget(db) == 1
    assert [known(db, world.key) for world in (done, going, young)] == [False, True, True]
    going.run(0)
    assert forget(db) == 1


def test_a_limit_that_a_report_closed_goes_once_it_is_open_again(db: Database) -> None:
    changes = Changes()
    for name in ("past", "ahead", "said"):
        policies.close_limit(db, changes, "forgetful", name, 60, actor=ACTOR)
    policies.set_limit(db, changes, "forgetful", "lock", "said", per_second=1.0, burst=1, actor=ACTOR)
    db.rows("UPDATE limits SET closed_until = clock_v1() - interval '1 second' WHERE name <> 'ahead'")
    assert forget(db) == 1
    left = db.rows("SELECT name FROM limits WHERE tenant = 'forgetful' ORDER BY name")
    assert [name for (name,) in left] == ["ahead", "said"]
    db.rows("DELETE FROM limits WHERE tenant = 'forgetful'")


def test_a_request_that_is_not_applied_stays_and_so_does_its_cancel(db: Database) -> None:
    key, pipeline = uuid4(), uuid7(SystemClock().now())
    receive(db, key, pipeline)
    age(db, key)
    requests.keep_cancel(db, "default", pipeline, "")
    db.rows("UPDATE cancels SET received_at = clock_v1() - interval '91 days'")
    assert forget(db) == 0
    db.rows("DELETE FROM requests WHERE key = %s", (key,))
    assert forget(db) == 1
    assert requests.cancels_of(db, "default", pipeline) == []


def test_cancels_go_after_ninety_days_unless_their_pipeline_is_open(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    asked = requests.request_cancel(
        db, cancel_id=uuid7(SystemClock().now()), tenant="default", pipeline_id=world.pipeline, job_id=None,
        reason="", requested_by="",
    )  # fmt: skip
    assert asked["outcome"] == "received"
    db.rows(
        "UPDATE cancels SET received_at = clock_v1() - interval '91 days' WHERE pipeline_id = %s::uuid",
        (world.pipeline,),
    )
    jobs.cancel(db, Changes(), tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR)
    assert forget(db) == 0
    world.finish(0)
    assert world.state() == "CANCELLED"
    assert forget(db) == 1


def test_conflicts_are_as_old_as_their_id(db: Database) -> None:
    now = SystemClock().now()
    key = uuid4()
    for days in (91, 89):
        db.rows(
            "INSERT INTO request_conflicts VALUES ('default', %s, '\\x00', %s::uuid)",
            (f"{key}-{days}", uuid7(now - days * DAYS)),
        )
    assert forget(db) == 1
    assert requests.conflict(db, "default", f"{key}-91", "00") is None
    assert requests.conflict(db, "default", f"{key}-89", "00") is not None


def test_one_call_deletes_a_bounded_number(db: Database) -> None:
    worlds = [World(db, [{}]) for _ in range(5)]
    for world in worlds:
        world.run(0)
        age(db, world.key)
    assert [forget(db, 2), forget(db, 2), forget(db, 2), forget(db, 2)] == [2, 2, 1, 0]


def test_logs_of_unknown_jobs_are_closed_and_no_others(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    unknown = uuid7(SystemClock().now())
    keys = [(world.jobs[0], 1), (unknown, 1)]
    items = [
        IndexItem(
            tenant="default", job_id=job_id, attempt=attempt, partition=0, lines_before=0, lines=3, last_seq=3
        )
        for job_id, attempt in keys
    ]
    assert logs.index(db, items) == set(keys)
    assert logs.close_unknown(db, 100) == 1
    assert [logs.heads(db, keys)[key].closed for key in keys] == [False, True]
    assert logs.close_unknown(db, 100) == 0
