"""Facts for explanations: where a job stands in a pool, whom it names, and how long a queue is counted."""

from __future__ import annotations

import pytest

from penstock.core.ids import uuid4
from penstock.store import fleet, jobs, standing
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.testing.graphs import ACTOR, World


@pytest.fixture
def pool() -> str:
    return f"pool-{uuid4()[:8]}"


def place(db: Database, world: World, number: int) -> tuple[int, int]:
    found = standing.standing(db, world.tenant, world.jobs[number])
    assert found is not None
    return found["ahead"], found["position"]


def test_lanes_come_first_then_immediate_tasks_then_age(db: Database, pool: str) -> None:
    old = World(db, [{"pool": pool}, {"pool": pool, "lane": "high"}, {"pool": f"{pool}-2"}])
    new = World(db, [{"pool": pool}, {"pool": pool, "immediate": True}, {"pool": pool, "lane": "critical"}])
    assert place(db, new, 2) == (0, 1)
    assert place(db, old, 1) == (1, 1)
    assert place(db, new, 1) == (2, 1)
    assert place(db, old, 0) == (3, 1)
    assert place(db, new, 0) == (4, 2)
    assert place(db, old, 2) == (0, 1)
    jobs.promote(db, Changes(), tenant="default", job_id=new.jobs[0], lane="high", actor=ACTOR)
    assert place(db, new, 0) == (2, 2)


def test_so_many_are_counted_and_no_more(db: Database, pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "MOST_COUNTED", 3)
    worlds = [World(db, [{"pool": pool}]) for _ in range(6)]
    assert [place(db, world, 0)[0] for world in worlds] == [0, 1, 2, 3, 3, 3]


def test_one_that_is_not_in_the_queue_has_no_place(db: Database, pool: str) -> None:
    world = World(db, [{"pool": pool}])
    db.rows("DELETE FROM ready WHERE job_id = %s::uuid", (world.jobs[0],))
    found = standing.standing(db, "default", world.jobs[0])
    assert found is not None
    assert ("position" in found, found["slots"], found["state"]) == (False, 0, "QUEUED")


def test_anothers_job_is_not_there(db: Database, pool: str) -> None:
    world = World(db, [{"pool": pool}])
    assert standing.standing(db, "rival", world.jobs[0]) is None
    assert standing.standing(db, "default", uuid4()) is None


def test_so_many_needs_are_named_and_all_are_counted(
    db: Database, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "MOST_NEEDS", 2)
    world = World(db, [{"pool": pool}] * 4, [(0, 3), (1, 3), (2, 3)])
    found = standing.standing(db, "default", world.jobs[3])
    assert found is not None
    assert ([need["name"] for need in found["needs"]], found["unmet"]) == (["job 0", "job 1"], 3)


def test_who_holds_it_is_named_while_it_is_there(db: Database, pool: str) -> None:
    holder, waiting = World(db, [{}]), World(db, [{"pool": pool}])
    for detail, name in (
        ({"held_by": holder.jobs[0]}, "job 0"), ({"behind": holder.jobs[0]}, "job 0"),
        ({"held_by": uuid4()}, None), ({"held_by": None}, None), ({}, None),
    ):  # fmt: skip
        why = {"reason": "lock", "text": "x", "detail": detail, "at": "now"}
        jobs.explain(db, [{"job_id": waiting.jobs[0], "why": why}])
        found = standing.standing(db, "default", waiting.jobs[0])
        assert found is not None
        assert (found["holder"] or {}).get("name") == name
    lock = uuid4()
    now = World(db, [{"holds": [["lock", lock, 1]]}])
    now.claim(0)
    why = {"reason": "lock", "text": "x", "detail": {"name": lock, "held_by": holder.jobs[0]}, "at": "now"}
    jobs.explain(db, [{"job_id": waiting.jobs[0], "why": why}])
    found = standing.standing(db, "default", waiting.jobs[0])
    assert found is not None
    assert (found["holder"]["job_id"], "since" in found["holder"]) == (now.jobs[0], True)
    assert fleet.room(db, pool) == {"runners": 0, "slots": 0, "taken": 0}
