"""Defects that the store was designed against, each shown not to be there (docs/regressions.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.ids import uuid4
from penstock.core.states import JOB_TERMINAL, JOB_TRANSITIONS, REASONS
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database, raw_connection
from penstock.testing.graphs import ACTOR, POLICY, World

WEEKLY = ("jobs", "job_specs", "edges", "attempts", "job_transitions")


def in_queue(world: World) -> list[str]:
    return [str(row["job_id"]) for row in jobs.ready_rows(world.db, world.jobs)]


def in_outbox(db: Database, job_id: str) -> list[str]:
    """States of the job of which unsent events tell."""
    rows = db.rows(
        "SELECT e FROM outbox AS o CROSS JOIN json_array_elements(o.events) AS e ORDER BY o.created_at"
    )
    parts = [part for (part,) in rows if part]
    return [one["state"] for part in parts for one in part.get("jobs") or () if one["job_id"] == job_id]


def expire(world: World) -> set[str]:
    items = [{"job_id": job, "token": token} for job, token in world.tokens.items()]
    return jobs.release(world.db, world.changes, items, expired=True, policy=POLICY, actor=ACTOR)


def decide(world: World, number: int, becomes: str) -> Changes:
    changes = Changes()
    decision = {"job_id": world.jobs[number], "becomes": becomes, "reason": None}
    jobs.resolve(world.db, changes, [decision], actor=ACTOR)
    return changes


def test_a_crash_in_a_claim_leaves_the_job_in_the_queue(db: Database, postgres_dsn: str) -> None:
    world = World(db, [{}])
    with raw_connection(postgres_dsn) as dispatcher:
        dispatcher.execute("BEGIN")
        dispatcher.execute(
            "SELECT claim_v1(ARRAY[%s::uuid], ARRAY[%s::uuid], ARRAY[%s::uuid], '{7}', '{0}', 60, 90,"
            " 'test')",
            (world.jobs[0], uuid4(), uuid4()),
        )
        dispatcher.close()
    assert in_queue(world) == world.jobs
    assert world.claim(0) == [0]
    assert in_queue(world) == []


def test_a_crash_after_an_expiry_leaves_the_job_in_the_queue_and_its_event_unsent(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    assert expire(world) == set(world.jobs)
    assert in_queue(world) == world.jobs, "in the transaction that made it QUEUED"
    assert in_outbox(db, world.jobs[0])[-1] == "QUEUED", "and so is what tells of it"


def test_a_decision_that_changed_no_row_is_not_published(db: Database) -> None:
    world = World(db, [{}, {"condition": "always"}], [(0, 1)])
    world.run(0, success=False)
    assert [one["state"] for one in decide(world, 1, "QUEUED").jobs] == ["QUEUED"]
    again = decide(world, 1, "QUEUED")
    assert (again.jobs, again.ready, again.outbox_ids) == ([], [], [])
    assert [state for _, _, state, _ in world.history(1)] == ["PENDING", "QUEUED"]


def test_a_try_of_an_attempt_that_was_given_away_is_not_scheduled(db: Database) -> None:
    world = World(db, [{"retry_max": 3}])
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    old = world.tokens[world.jobs[0]]
    expire(world)
    world.claim(0)
    assert world.finish(0, token=old, success=False) == set()
    assert world.states() == ["ASSIGNED"]
    assert world.finish(0, success=False) == set(world.jobs)
    assert world.states() == ["RETRYING"]
    assert world.finish(0, success=False) == set(), "a second time neither"


def test_three_tries_are_three_starts(db: Database) -> None:
    world = World(db, [{"retry_max": 2}])
    for _ in range(3):
        world.run(0, success=False)
        jobs.retry_due(db, world.changes, limit=1000, actor=ACTOR)
    assert world.states() == ["FAILED"]
    starts = [state for _, _, state, _ in world.history(0)].count("RUNNING")
    row = db.rows("SELECT attempt, tries FROM jobs WHERE id = %s::uuid", (world.jobs[0],))
    assert (starts, row) == (3, [(3, 3)])


def test_partitioned_tables_have_keys_that_postgres_can_keep_and_no_foreign_key(db: Database) -> None:
    for table in WEEKLY:
        by, key = db.rows(
            "SELECT array_agg(a.attname::text), (SELECT array_agg(k.attname::text) FROM pg_index AS i"
            " JOIN pg_attribute AS k ON k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)"
            " WHERE i.indrelid = p.partrelid AND i.indisprimary)"
            " FROM pg_partitioned_table AS p JOIN pg_attribute AS a"
            " ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])"
            " WHERE p.partrelid = %s::regclass GROUP BY p.partrelid",
            (table,),
        )[0]
        assert set(by) <= set(key), table
    weekly = [f"{name}" for name in WEEKLY]
    assert db.one(
        "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND (conrelid::regclass::text = ANY (%s)"
        " OR confrelid::regclass::text = ANY (%s))",
        (weekly, weekly),
    ) == 0  # fmt: skip


def test_every_end_says_why(db: Database) -> None:
    conditions: list[dict[str, Any]] = [{}, {}, {"condition": "failure"}, {}, {}, {}]
    world = World(db, conditions, [(0, 1), (3, 2)])
    world.run(0, success=False)
    decide(world, 1, "SKIPPED")
    world.run(3)
    decide(world, 2, "SKIPPED")
    world.claim(4)
    world.start(4)
    jobs.cancel(db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR)
    world.finish(4, success=False, reason="signal")
    assert world.states() == ["FAILED", "SKIPPED", "SKIPPED", "SUCCESS", "CANCELLED", "CANCELLED"]
    assert "SKIPPED" in JOB_TERMINAL, "never run is a state of its own"
    ends = [world.history(number)[-1] for number in (0, 4, 5)]
    assert [end[3] for end in ends] == ["exit-code", "cancelled", "cancelled"]
    assert {end[3] for end in ends} <= set(REASONS)


def pending(world: World) -> None:
    world.run(0)


def queued(world: World) -> None:
    world.run(0)


def assigned(world: World) -> None:
    world.run(0)
    world.claim(1, lease_seconds=-1)


def running(world: World) -> None:
    world.run(0)
    world.claim(1)
    world.start(1, ttl_seconds=-1)


def retrying(world: World) -> None:
    world.run(0)
    world.run(1, success=False)


def cancelling(world: World) -> None:
    running(world)
    jobs.cancel(
        world.db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR
    )


@pytest.mark.parametrize("enter", [pending, queued, assigned, running, retrying, cancelling])
def test_every_state_that_is_no_end_is_driven_on_though_all_events_are_lost(
    db: Database, enter: Callable[[World], None]
) -> None:
    world = World(db, [{}, {"retry_max": 1, "condition": "always" if enter is pending else ""}], [(0, 1)])
    enter(world)
    state = world.states()[1]
    assert state == enter.__name__.upper()
    for table in ("outbox", "ready", "timers"):
        db.rows(f"DELETE FROM {table}")  # type: ignore[arg-type]
    told = Changes()
    jobs.lost(db, told, older_than=0)
    sessions = jobs.expired_sessions(db)
    jobs.release(db, told, jobs.expired(db, sessions, 1000), expired=True, policy=POLICY, actor=ACTOR)
    jobs.retry_due(db, told, limit=1000, actor=ACTOR)
    mine = world.jobs[1]
    if state == "PENDING":
        assert mine in [one["job_id"] for one in told.undecided]
    elif state == "CANCELLING":
        assert world.states()[1] == "CANCELLED"
    else:
        assert world.states()[1] == "QUEUED"
        assert mine in in_queue(world)


def test_all_states_are_among_those_that_are_driven_on() -> None:
    driven = {"PENDING", "QUEUED", "ASSIGNED", "RUNNING", "RETRYING", "CANCELLING"}
    entered_by_nobody = {"WAITING"}
    assert driven == set(JOB_TRANSITIONS) - set(JOB_TERMINAL) - entered_by_nobody - {None}
