"""Two connections at once: what each sees of the other, and who wins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from penstock.runtime.clock import pause
from penstock.store import jobs
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
