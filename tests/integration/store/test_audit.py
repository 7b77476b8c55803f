"""Books, census and dump of a real Postgres: they hold what there is, fit together, and see every change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.core.ids import uuid4
from penstock.store import audit, clusters, jobs
from penstock.store.database import Database
from penstock.testing.databases import fresh_database
from penstock.testing.graphs import World
from penstock.testing.history import History, verdict
from penstock.testing.history.dumps import difference
from penstock.testing.history.past import Ask, Sample


@pytest.fixture
def own(postgres_dsn: str) -> Iterator[Database]:
    """A database with nothing but what these tests do."""
    with fresh_database(postgres_dsn) as dsn:
        database = Database(dsn, "test")
        yield database
        database.close()


def test_books_of_a_pipeline_are_judged(own: Database) -> None:
    world = World(own, [{}, {"retry_max": 1}], [(0, 1)])
    world.run(0)
    world.claim(1)
    open_ = audit.census(own)
    world.start(1)
    world.finish(1, success=False)
    jobs.retry_due(own, world.changes, limit=10, actor="test-0")
    world.run(1)
    jobs.late(own, [{"job_id": world.jobs[0], "attempt": 1, "what": "ended"}])
    own.rows("DELETE FROM outbox")  # as acknowledged
    books = audit.books(own)
    assert sorted((job["name"], job["executor"], job["needs"]) for job in books.jobs) == [
        ("job 0", "noop", []),
        ("job 1", "noop", [world.jobs[0]]),
    ]
    ask = Ask(
        key=world.key,
        definition={"name": "test", "jobs": {"job 0": {}, "job 1": {"needs": ["job 0"]}}},
        outcome="ok",
    )
    found = verdict(
        History(
            books=books,
            rested_at=1.0,
            asks=[ask],
            samples=[Sample(0.0, open_), Sample(1.0, audit.census(own))],
        )
    )
    assert found.problems == []
    assert (open_.accepted, open_.open, open_.jobs) == (2, 1, {"ASSIGNED": 1, "SUCCESS": 1})


def test_books_of_what_goes_on_say_what_is_left(own: Database) -> None:
    world = World(own, [{}, {}, {}], [(0, 1)])
    world.claim(0)
    books = audit.books(own)
    mine = [row["job_id"] for row in books.leases]
    assert mine == [world.jobs[0]]
    assert [row["job_id"] for row in books.ready] == [world.jobs[2]]
    assert {row["pipeline_id"] for row in books.open_pipelines} == {world.pipeline}
    assert books.outbox
    found = verdict(History(books=books, rested_at=1.0))
    assert found.of("I8").state == "broken"
    assert found.of("I1").state == "broken"
    world.finish(0)
    world.run(1, 2)
    own.rows("DELETE FROM outbox")


def test_a_dump_is_the_same_until_something_changes(own: Database) -> None:
    world = World(own, [{}])
    before = audit.dump(own)
    assert difference(before, audit.dump(own)) == ""
    world.claim(0)
    assert difference(before, audit.dump(own)).startswith(("no longer there: ", "not there before: "))
    world.finish(0)
    own.rows("DELETE FROM outbox")
    before = audit.dump(own)
    own.rows("UPDATE attempts SET late = 'ended', late_at = now() WHERE job_id = %s", (world.jobs[0],))
    assert audit.dump(own) == before
    own.rows("UPDATE attempts SET exit_code = 9 WHERE job_id = %s", (world.jobs[0],))
    assert "attempts" in difference(before, audit.dump(own))


def test_only_the_newest_kafka_waits_for_its_history(own: Database) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    assert not clusters.meet(own, first, keep_seconds=60)
    assert audit.is_quiet(own)
    assert clusters.meet(own, second, keep_seconds=60)
    assert not audit.is_quiet(own)
    assert clusters.meet(own, third, keep_seconds=60), "wiped before the second one was given all"
    while (page := clusters.take(own, third, 10, settle_seconds=0)) is not None:
        assert not audit.is_quiet(own)
        clusters.gave(own, third, page)
    assert audit.is_quiet(own)


def test_a_log_is_whole_when_all_that_its_attempt_told_of_is_stored(own: Database) -> None:
    world = World(own, [{}, {}])
    world.run(0)
    assert audit.logs_are_whole(own), "it printed nothing"
    attempt = (world.jobs[0],)
    own.rows("UPDATE attempts SET last_seq = 3 WHERE job_id = %s::uuid", attempt)
    assert not audit.logs_are_whole(own), "nothing of it has come"
    own.rows("UPDATE attempts SET reason = 'infra-error' WHERE job_id = %s::uuid", attempt)
    assert audit.logs_are_whole(own), "its runner could keep none"
    own.rows("UPDATE attempts SET reason = NULL WHERE job_id = %s::uuid", attempt)
    own.rows(
        "INSERT INTO log_heads (job_id, attempt, tenant, partition, lines, last_seq, closed)"
        " VALUES (%s::uuid, 1, 'default', 0, 3, 3, false)",
        attempt,
    )
    assert not audit.logs_are_whole(own), "it is not closed"
    own.rows("UPDATE log_heads SET closed = true WHERE job_id = %s::uuid", attempt)
    assert audit.logs_are_whole(own)
    own.rows("DELETE FROM outbox")
