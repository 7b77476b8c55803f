"""Locks, places of a matrix and groups: taken by a claim, all or none, and freed whenever an attempt ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.store.test_races import in_its_own_thread, until_it_waits

from penstock.core.ids import uuid4
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database, raw_connection
from penstock.testing.graphs import ACTOR, POLICY, World

WAIT_SECONDS = 60.0


def exclusive(name: str) -> list[Any]:
    return ["lock", name, 1]


def shared(name: str) -> list[Any]:
    return ["lock", name, None]


def holders(db: Database, kind: str, name: str, tenant: str = "default") -> list[str]:
    """Ids of who holds a name, the oldest first."""
    return [row["holder"] for row in jobs.held(db, [{"tenant": tenant, "kind": kind, "name": name}])]


def freed(world: World) -> list[tuple[str, str]]:
    return [(one["kind"], one["name"]) for one in world.changes.freed]


def test_an_exclusive_lock_has_one_holder_the_oldest_first(db: Database) -> None:
    name = uuid4()
    first, second = (World(db, [{"holds": [exclusive(name)]}]) for _ in range(2))
    rows = [
        {"job_id": world.jobs[0], "token": uuid4(), "session_id": world.session, "n": 1}
        for world in sorted((first, second), key=lambda world: world.jobs[0])
    ]
    changes = Changes()
    won, waits = jobs.claim(db, changes, rows, lease_seconds=15, actor=ACTOR)
    assert won == [first.jobs[0]]
    assert [grant["job_id"] for grant in changes.grants] == won
    (wait,) = waits
    assert wait.pop("since") is not None
    assert wait == {
        "job_id": second.jobs[0], "kind": "lock", "name": name, "most": 1, "held": 1, "holder": first.jobs[0],
    }  # fmt: skip
    assert second.states() == ["QUEUED"]
    assert [row["job_id"] for row in jobs.ready_rows(db, second.jobs)] == second.jobs


def test_readers_share_and_a_writer_waits_for_all_of_them(db: Database) -> None:
    name = uuid4()
    world = World(db, [{"holds": [shared(name)]}, {"holds": [shared(name)]}, {"holds": [exclusive(name)]}])
    assert sorted(world.claim(0, 1)) == [0, 1]
    assert world.claim(2) == []
    assert world.waits[0]["held"] == 2
    world.finish(0)
    assert world.claim(2) == []
    world.finish(1)
    assert world.claim(2) == [2]
    reader = World(db, [{"holds": [shared(name)]}])
    assert reader.claim(0) == []
    assert (reader.waits[0]["most"], reader.waits[0]["holder"]) == (1, world.jobs[2])


def test_all_locks_or_none(db: Database) -> None:
    one, two = uuid4(), uuid4()
    holder = World(db, [{"holds": [exclusive(two)]}])
    holder.claim(0)
    world = World(db, [{"holds": [exclusive(one), exclusive(two)]}, {"holds": [exclusive(one)]}])
    assert world.claim(0) == []
    assert world.waits[0]["name"] == two
    assert holders(db, "lock", one) == []
    assert world.claim(0, 1) == [1], "what waits for one lock keeps no other from those behind it"


def test_names_are_a_tenant_s_own(db: Database) -> None:
    name = uuid4()
    mine, theirs = (
        World(db, [{"holds": [exclusive(name)]}], tenant=tenant) for tenant in ("default", "other")
    )
    assert (mine.claim(0), theirs.claim(0)) == ([0], [0])


def test_a_matrix_runs_so_many_cells_at_once(db: Database) -> None:
    cell = {"matrix": "test", "holds": [["matrix", "test", 2]]}
    world, other = World(db, [cell] * 3), World(db, [cell])
    assert len(world.claim(0, 1, 2)) == 2
    assert other.claim(0) == [0], "another pipeline's matrix is another one"
    name = f"{world.pipeline}/test"
    assert (world.waits[0]["kind"], world.waits[0]["name"], world.waits[0]["most"]) == ("matrix", name, 2)
    (waiting,) = jobs.ready_rows(db, world.jobs)
    assert waiting["holds"] == [["matrix", name, 2]]
    left = world.jobs.index(waiting["job_id"])
    world.finish(*({0, 1, 2} - {left}))
    assert freed(world) == [("matrix", name)] * 2
    assert world.claim(left) == [left]


def test_a_pipeline_holds_its_group_until_it_ends(db: Database) -> None:
    group = {"group": uuid4()}
    first = World(db, [{}, {}, {}], [(0, 2)], concurrency=group)
    second = World(db, [{}], concurrency=group)
    assert sorted(first.claim(0, 1)) == [0, 1], "its jobs share it"
    assert second.claim(0) == []
    assert (second.waits[0]["kind"], second.waits[0]["holder"]) == ("group", first.pipeline)
    first.finish(0, 1)
    assert (second.claim(0), freed(first)) == ([], []), "between its jobs, too"
    first.run(2)
    assert freed(first) == [("group", group["group"])]
    assert db.one("SELECT count(*) FROM concurrency_groups WHERE name = %s", (group["group"],)) == 1
    assert second.claim(0) == [0]


def test_pipelines_enter_their_group_in_the_order_in_which_they_came(db: Database) -> None:
    group = {"group": uuid4()}
    first, second = (World(db, [{}], concurrency=group) for _ in range(2))
    assert second.claim(0) == []
    assert second.waits[0]["holder"] == first.pipeline
    jobs.cancel(db, first.changes, tenant="default", pipeline_id=first.pipeline, job_id=None, actor=ACTOR)
    assert freed(first) == [("group", group["group"])], "it never held it, but stood before others"
    assert second.claim(0) == [0]


def test_ids_of_pipelines_and_jobs_are_not_mixed_up(db: Database) -> None:
    """A client may choose the id of its pipeline: one that is a job's id."""
    group, lock = {"group": uuid4()}, uuid4()
    world = World(db, [{"holds": [exclusive(lock)]}], concurrency=group)
    world.claim(0)
    db.one("SELECT leave_groups_v1(ARRAY[%s::uuid])", (world.jobs[0],))
    assert holders(db, "lock", lock) == world.jobs
    db.one("SELECT free_v1(ARRAY[%s::uuid])", (world.pipeline,))
    assert holders(db, "group", group["group"]) == [world.pipeline]


def _back(world: World, *, expired: bool) -> None:
    items = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]], "jitter": 0.0}]
    assert jobs.release(
        db=world.db, changes=world.changes, items=items, expired=expired, policy=POLICY, actor=ACTOR
    )


def _cancelled(world: World) -> None:
    jobs.cancel(
        world.db,
        world.changes,
        tenant="default",
        pipeline_id=world.pipeline,
        job_id=world.jobs[0],
        actor=ACTOR,
    )
    assert (world.states(), freed(world)) == (["CANCELLING"], []), "it may run still"
    world.finish(0, success=False)


ENDS: dict[str, tuple[str, Callable[[World], object]]] = {
    "success": ("SUCCESS", lambda world: world.finish(0)),
    "failed": ("FAILED", lambda world: world.finish(0, success=False, reason="artifact-missing")),
    "retried": ("RETRYING", lambda world: world.finish(0, success=False)),
    "cancelled": ("CANCELLED", _cancelled),
    "given back": ("QUEUED", lambda world: _back(world, expired=False)),
    "expired": ("QUEUED", lambda world: _back(world, expired=True)),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_an_attempt_frees_what_it_held(db: Database, end: str) -> None:
    name = uuid4()
    world = World(
        db, [{"holds": [exclusive(name)], "retry_max": 1, "spec": {"executor": "noop", "grace": 0}}]
    )
    lease = {"lease_seconds": -1.0} if end == "expired" else {}
    world.claim(0, **lease)
    if end == "expired":
        db.rows(
            "UPDATE leases SET expires_at = clock_v1() - interval '1 s' WHERE job_id = %s::uuid",
            (world.jobs[0],),
        )
    assert holders(db, "lock", name) == world.jobs
    state, act = ENDS[end]
    act(world)
    assert world.states() == [state]
    assert holders(db, "lock", name) == []
    assert world.changes.freed == [
        {"tenant": "default", "kind": "lock", "name": name, "holder": world.jobs[0]}
    ]  # fmt: skip
    if state == "QUEUED":
        assert world.claim(0) == [0], "and it is taken again"


def test_a_job_with_a_lock_has_the_lease_of_exclusive_ones(db: Database) -> None:
    world = World(db, [{"holds": [shared(uuid4())], "spec": {"grace": 7}}, {"holds": [["matrix", "m", 3]]}])
    world.claim(0, 1)
    told = {grant["job_id"]: grant["lease"] for grant in world.changes.grants}
    assert told == {world.jobs[0]: 97, world.jobs[1]: None}
    kept = db.rows(
        "SELECT job_id::text, lasts, held FROM leases WHERE job_id = ANY(%s::uuid[])", (world.jobs,)
    )
    assert {row[0]: row[1:] for row in kept} == {world.jobs[0]: (97, True), world.jobs[1]: (None, True)}


def test_since_when_nothing_stood_before_it_is_kept_with_the_attempt(db: Database) -> None:
    world = World(db, [{}, {}])
    rows = [
        {"job_id": job_id, "token": uuid4(), "session_id": world.session, "n": 1, "waited": 40.0}
        for job_id in sorted(world.jobs)
    ]
    jobs.claim(db, world.changes, rows, lease_seconds=15, actor=ACTOR)
    world.tokens = {row["job_id"]: row["token"] for row in rows}
    world.finish(0)
    items = [{"job_id": world.jobs[1], "token": world.tokens[world.jobs[1]]}]
    jobs.release(db, world.changes, items, expired=False, policy=POLICY, actor=ACTOR)
    seconds = db.rows(
        "SELECT extract(epoch FROM assigned_at - unblocked_at)::int FROM attempts"
        " WHERE job_id = ANY(%s::uuid[])",
        (world.jobs,),
    )
    assert seconds == [(40,), (40,)]


def test_what_is_not_in_the_queue_is_not_claimed(db: Database) -> None:
    world = World(db, [{}])
    db.rows("DELETE FROM ready WHERE job_id = %s::uuid", (world.jobs[0],))
    assert world.claim(0) == []
    jobs.lost(db, world.changes, older_than=0)
    assert world.claim(0) == [0]


def _claim(world: World, number: int = 0) -> Callable[[Database], object]:
    row = {"job_id": world.jobs[number], "token": uuid4(), "session_id": uuid4(), "n": 1}
    return lambda other: jobs.claim(other, Changes(), [row], lease_seconds=60, actor=ACTOR).won


@pytest.mark.parametrize("older_first", [True, False])
@pytest.mark.parametrize("commits", [True, False])
def test_of_two_claims_at_once_one_has_the_lock(postgres_dsn: str, older_first: bool, commits: bool) -> None:
    db = Database(postgres_dsn, "test")
    name = uuid4()
    worlds = [World(db, [{"holds": [exclusive(name)]}]) for _ in range(2)]
    first, second = worlds if older_first else worlds[::-1]
    with raw_connection(postgres_dsn) as claiming:
        claiming.execute("BEGIN")
        claiming.execute(
            "SELECT claim_v1(ARRAY[%s::uuid], ARRAY[%s::uuid], ARRAY[%s::uuid], '{7}', '{0}', 60, 90,"
            " 'test')",
            (first.jobs[0], uuid4(), uuid4()),
        )
        with in_its_own_thread(postgres_dsn, _claim(second)) as answers:
            until_it_waits(db)
            claiming.execute("COMMIT" if commits else "ROLLBACK")
    assert answers == [[] if commits else second.jobs]
    assert holders(db, "lock", name) == (first if commits else second).jobs
    db.close()


def test_claims_and_ends_over_the_same_locks_never_wait_in_a_ring(postgres_dsn: str) -> None:
    """Two claimers and a finisher at once, until every job has run: a lost deadlock would be told."""
    db = Database(postgres_dsn, "test")
    names = [uuid4() for _ in range(3)]
    worlds = [
        World(
            db,
            [{"holds": [exclusive(names[n % 3]), exclusive(names[(n + 1) % 3]), shared(names[(n + 2) % 3])]}],
        )
        for n in range(30)
    ]
    left = {world.jobs[0]: world for world in worlds}
    running: dict[str, str] = {}
    broken: list[object] = []
    over = threading.Event()

    def claimer() -> None:
        mine = Database(postgres_dsn, "claimer")
        while left and not over.is_set():
            rows = [
                {"job_id": job_id, "token": uuid4(), "session_id": uuid4(), "n": 1} for job_id in sorted(left)
            ]
            won = jobs.claim(mine, Changes(), rows, lease_seconds=60, actor=ACTOR).won
            running.update({row["job_id"]: row["token"] for row in rows if row["job_id"] in won})
        mine.close()

    def finisher() -> None:
        mine = Database(postgres_dsn, "finisher")
        while left and not over.is_set():
            ends = [
                {
                    "job_id": job_id, "token": token, "success": True, "ran": True, "exit_code": 0,
                    "last_seq": 0, "jitter": 0.0,
                }
                for job_id, token in list(running.items())
            ]  # fmt: skip
            for job_id in jobs.finish(mine, Changes(), ends, policy=POLICY, actor=ACTOR):
                del running[job_id]
                del left[job_id]
        mine.close()

    def watched(act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test tells it
            broken.append(error)
            over.set()

    before = db.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    threads = [threading.Thread(target=watched, args=(act,)) for act in (claimer, claimer, finisher)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    over.set()
    assert broken == []
    assert {world.states()[0] for world in worlds} == {"SUCCESS"}
    assert db.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == before
    assert [holders(db, "lock", name) for name in names] == [[]] * 3
    db.close()
