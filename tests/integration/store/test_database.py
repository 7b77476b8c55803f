"""What the errors of Postgres mean, and that a call hears signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database, PoisonRow, to_json
from penstock.testing.graphs import World


@pytest.fixture
def read_only(postgres_dsn: str) -> Iterator[Database]:
    """A connection to a server that takes no writes, as a demoted primary."""
    database = Database(f"{postgres_dsn}?options=-c%20default_transaction_read_only%3Don", "test")
    yield database
    database.close()


def test_a_server_that_takes_no_writes_is_away(db: Database, read_only: Database) -> None:
    world = World(db, [{}])
    world.db = read_only
    assert not read_only.answers()
    with pytest.raises(RetryLater):
        world.claim(0)
    assert db.answers()
    assert world.states() == ["QUEUED"]


def test_one_row_twice_in_a_batch_is_the_batchs_fault(db: Database) -> None:
    session = uuid4()
    row = {"session_id": session, "n": 1, "kind": "runner", "name": "x", "pool": "p", "state": "IDLE"}
    beats = [{**row, "slots": 1, "labels": [], "attempts": 0} for _ in range(2)]
    beats[1]["session_id"] = session.upper()
    with pytest.raises(PoisonRow):
        db.call("renew_v1", to_json(beats), b"[]", 1.0)


@pytest.mark.parametrize("wrong", ["A,B", "", '"', "{}", "a b", "NULL"])
def test_no_id_of_a_list_can_become_two(db: Database, wrong: str) -> None:
    with pytest.raises(PoisonRow):
        db.call("acked_v1", [uuid4(), wrong])


def test_claims_come_sorted_and_each_once(db: Database) -> None:
    world = World(db, [{} for _ in range(3)])
    claims = [{"job_id": j, "token": uuid4(), "session_id": uuid4(), "n": 1} for j in sorted(world.jobs)]
    for wrong in (claims[::-1], [claims[0], claims[0]], [claims[1], claims[0], claims[2]]):
        with pytest.raises(PoisonRow):
            jobs.claim(db, Changes(), wrong, lease_seconds=1.0, actor="test")
    assert db.one("SELECT count(*) FROM ready WHERE job_id = ANY(%s::uuid[])", (world.jobs,)) == 3
    assert len(jobs.claim(db, Changes(), claims, lease_seconds=1.0, actor="test").won) == 3


def test_a_signal_is_heard_during_a_call(postgres_dsn: str) -> None:
    """Its handler ends the call from elsewhere: were it to wait for the end, this would take an hour."""
    slow, other = Database(postgres_dsn, "slow"), Database(postgres_dsn, "test")
    pid = slow.one("SELECT pg_backend_pid()")
    before = signal.signal(signal.SIGUSR1, lambda *_: other.rows("SELECT pg_terminate_backend(%s)", (pid,)))
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"

    def wake() -> None:
        looking = Database(postgres_dsn, "looking")
        while not looking.one(asleep, (pid,)):
            pass
        looking.close()
        os.kill(os.getpid(), signal.SIGUSR1)

    waker = threading.Thread(target=wake)
    waker.start()
    try:
        with pytest.raises(RetryLater):
            slow.call("pg_sleep", 3600)
    finally:
        waker.join()
        signal.signal(signal.SIGUSR1, before)
        slow.close()
        other.close()
