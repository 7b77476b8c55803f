"""Two connections at once: what each sees of the other, and who wins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.core.ids import uuid4
from penstock.runtime.clock import pause
from penstock.store import jobs, workers
from penstock.store.changes import Changes
from penstock.store.database import Database, raw_connection, to_json
from penstock.testing.graphs import ACTOR, POLICY, World

WAIT_SECONDS = 30.0


@contextmanager
def in_its_own_thread(dsn: str, call: object) -> Iterator[list[object]]:
    """Run `call(db)` on another connection; at the end of the block its answer is in the list."""
    answers: list[object] = []

    def run() -> None:
        db = Database(dsn, "racer")
        answers.append(call(db))  # type: ignore[operator]
        db.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield answers
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def until_it_waits(db: Database) -> None:
    """Return once the other connection waits for a lock."""
    for _ in range(int(WAIT_SECONDS / 0.02)):
        waiting = db.one(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'racer' AND wait_event_type = 'Lock'"
        )
        if waiting:
            return
        pause(0.02)
    raise AssertionError("the other connection never waited")


@pytest.mark.parametrize("renewed", [True, False])
def test_a_renewal_that_commits_first_keeps_its_lease(postgres_dsn: str, renewed: bool) -> None:
    db = Database(postgres_dsn, "test")
    world = World(db, [{}])
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    job_id, token = world.jobs[0], world.tokens[world.jobs[0]]
    held = [{"session_id": world.session, "job_id": job_id, "attempt": 1, "token": token, "ended": False}]

    def release(other: Database) -> set[str]:
        items = [{"job_id": job_id, "token": token}]
        return jobs.release(other, Changes(), items, expired=True, policy=POLICY, actor=ACTOR)

    with raw_connection(postgres_dsn) as renewing:
        renewing.execute("BEGIN")
        renewing.execute("SELECT renew_v1('[]', %s::json, 60)", (to_json(held).decode(),))
        with in_its_own_thread(postgres_dsn, release) as answers:
            until_it_waits(db)
            renewing.execute("COMMIT" if renewed else "ROLLBACK")
    assert answers == [set() if renewed else {job_id}]
    assert world.states() == ["RUNNING" if renewed else "QUEUED"]
    kept = db.one("SELECT count(*) FROM leases WHERE token = %s::uuid", (token,))
    assert kept == int(renewed)
    db.close()


@pytest.mark.parametrize("effect", ["finish", "renew", "start", "release"])
def test_what_an_attempt_tells_while_its_job_is_given_away_changes_nothing(
    postgres_dsn: str, effect: str
) -> None:
    """Whoever asks for the lease first and writes afterwards would take the next attempt's."""
    db = Database(postgres_dsn, "test")
    world = World(db, [{}])
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    job_id, token = world.jobs[0], world.tokens[world.jobs[0]]
    item = {"job_id": job_id, "token": token}

    def tell(other: Database) -> object:
        changes = Changes()
        if effect == "finish":
            end = {**item, "success": True, "ran": True, "exit_code": 0, "last_seq": 0, "jitter": 0.0}
            return jobs.finish(other, changes, [end], policy=POLICY, actor=ACTOR)
        if effect == "start":
            return jobs.start(other, changes, [item], ttl_seconds=60, actor=ACTOR)
        if effect == "release":
            return jobs.release(other, changes, [item], expired=False, policy=POLICY, actor=ACTOR)
        held = {**item, "session_id": world.session, "attempt": 1, "ended": False}
        answers = workers.renew(other, [], [held], ttl_seconds=3600)
        return {answer["job_id"] for answer in answers if answer["verdict"] != "void"}

    with raw_connection(postgres_dsn) as giving:
        giving.execute("BEGIN")
        giving.execute("SELECT release_v1(%s::json, true, 0, 0, 3, 20, 'test')", (to_json([item]).decode(),))
        given = giving.execute(
            "SELECT claim_v1(ARRAY[%s::uuid], ARRAY[%s::uuid], ARRAY[%s::uuid], '{7}', '{0}', 60, 90,"
            " 'test')",
            (job_id, uuid4(), uuid4()),
        ).fetchone()
        assert given is not None
        assert given[0]["claimed"] == [job_id]
        with in_its_own_thread(postgres_dsn, tell) as answers:
            until_it_waits(db)
            before = giving.execute(
                "SELECT to_json(l) FROM leases AS l WHERE job_id = %s", (job_id,)
            ).fetchone()
            giving.execute("COMMIT")
    assert answers == [set()]
    assert world.states() == ["ASSIGNED"]
    assert before is not None
    assert db.one("SELECT to_json(l) FROM leases AS l WHERE job_id = %s::uuid", (job_id,)) == before[0]
    db.close()


def test_of_two_needs_that_end_together_one_queues_the_child_once(postgres_dsn: str) -> None:
    """Each would see the other unended in its own snapshot."""
    db = Database(postgres_dsn, "test")
    world = World(db, [{}, {}, {}], [(0, 2), (1, 2)])
    world.claim(0, 1)
    ends = [
        {
            "job_id": world.jobs[at], "token": world.tokens[world.jobs[at]], "success": True, "ran": True,
            "exit_code": 0, "last_seq": 0, "jitter": 0.0,
        }
        for at in range(2)
    ]  # fmt: skip

    def finish(other: Database) -> set[str]:
        return jobs.finish(other, Changes(), [ends[1]], policy=POLICY, actor=ACTOR)

    with raw_connection(postgres_dsn) as first:
        first.execute("BEGIN")
        first.execute("SELECT finish_v1(%s::json, 0, 0, 3, 'test')", (to_json([ends[0]]).decode(),))
        with in_its_own_thread(postgres_dsn, finish) as answers:
            until_it_waits(db)
            first.execute("COMMIT")
    assert answers == [{world.jobs[1]}]
    assert world.states() == ["SUCCESS", "SUCCESS", "QUEUED"]
    assert [state for _, _, state, _ in world.history(2)] == ["PENDING", "QUEUED"]
    assert [row["job_id"] for row in jobs.ready_rows(db, world.jobs)] == [world.jobs[2]]
    db.close()
