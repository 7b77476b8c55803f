"""Each service connects as itself and may do its own work only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.core.ids import uuid4
from penstock.store import jobs, logs, migrate, outbox, requests, tenants, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.store.roles import SERVICES, service_dsn
from penstock.store.setup import set_passwords
from penstock.store.standing import standing
from penstock.testing.graphs import ACTOR, POLICY, World


@pytest.fixture(scope="module")
def connect(postgres_dsn: str) -> Iterator[Callable[[str], Database]]:
    owner = Database(postgres_dsn, "test")
    # The owner's own, as the local stack has it: a stack that runs here already goes on.
    set_passwords(owner, dict.fromkeys(SERVICES, unquote(urlsplit(postgres_dsn).password or "")))
    owner.close()
    made: list[Database] = []

    def as_service(name: str) -> Database:
        made.append(Database(service_dsn(postgres_dsn, name), "test"))
        return made[-1]

    yield as_service
    for database in made:
        database.close()


def test_a_job_goes_its_way_through_the_hands_of_the_services(connect: Callable[[str], Database]) -> None:
    world = World(connect("intake"), [{}, {}], [(0, 1)])
    world.db = connect("dispatcher")
    assert world.claim(0) == [0]
    assert [key[0] for key in jobs.ready_keys(world.db)].count(world.jobs[0]) == 0
    jobs.leases_by_session(world.db)
    world.db = connect("advancer")
    world.start(0)
    assert world.finish(0) == {world.jobs[0]}
    jobs.undecided(world.db, world.jobs)
    reaper = connect("reaper")
    jobs.expired(reaper, jobs.expired_sessions(reaper), 10)
    jobs.release(reaper, Changes(), [], expired=True, policy=POLICY, actor=ACTOR)
    jobs.retry_due(reaper, Changes(), limit=10, actor=ACTOR)
    jobs.queue_due(reaper, Changes(), limit=10, actor=ACTOR)
    jobs.stop_due(reaper, jobs.due_sessions(reaper), 10)
    jobs.outage(reaper, "reaper-0", gap_seconds=2, longest_seconds=15)
    jobs.reconcile(reaper, Changes(), limit=10, actor=ACTOR)
    jobs.lease_counts(reaper)
    jobs.overdue(reaper)
    jobs.late(world.db, [])
    jobs.lost(reaper, Changes(), older_than=0)
    jobs.queue_depth(reaper)
    requests.unapplied(reaper, 10)
    requests.forget(reaper, older_than=90 * 86_400, limit=10)
    logs.close_unknown(reaper, 10)
    workers.mark_silent(reaper, ttl_seconds=10)
    outbox.relay(reaper, Changes(), older_than=0, limit=10)
    outbox.oldest_age(reaper)
    canceller = connect("canceller")
    requests.waiting_cancels(canceller, 10)
    assert jobs.cancel(
        canceller, Changes(), tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR
    ) == "cancelled"  # fmt: skip
    gateway = connect("gateway")
    assert standing(gateway, "default", world.jobs[1]) is not None
    assert jobs.promote(
        gateway, Changes(), tenant="default", job_id=uuid4(), lane="high", actor=ACTOR
    ) == "absent"  # fmt: skip
    assert tenants.identify(gateway, "penstock_unknown") is None
    assert workers.log_owner(gateway, 0, seen_within=10) is None


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_may_write_a_job_or_make_a_table(connect: Callable[[str], Database], service: str) -> None:
    db = connect(service)
    for statement in (
        "UPDATE jobs SET state = 'SUCCESS'",
        "DELETE FROM job_transitions",
        "CREATE TABLE mine (a int)",
        "CREATE TEMP TABLE mine (a int)",
        "UPDATE tokens SET tenant = 'default'",
    ):
        with pytest.raises(StopProcess, match="permission denied"):
            db.rows(statement)


def test_a_service_may_not_do_another_s_work(connect: Callable[[str], Database]) -> None:
    with pytest.raises(StopProcess, match="permission denied"):
        jobs.claim(connect("logs"), Changes(), [], lease_seconds=1, actor=ACTOR)
    with pytest.raises(StopProcess, match="permission denied"):
        connect("dispatcher").rows("SELECT hash FROM tokens")


def test_the_planner_flags_come_with_the_role(connect: Callable[[str], Database]) -> None:
    assert connect("advancer").one("SHOW enable_hashjoin") == "off"
    assert connect("gateway").one("SHOW enable_hashjoin") == "on"
    assert connect("advancer").one("SHOW timezone") == "UTC"


@pytest.mark.parametrize("service", SERVICES)
def test_the_timeouts_come_with_the_role(connect: Callable[[str], Database], service: str) -> None:
    db = connect(service)
    longest = "10s" if service == "gateway" else "5min"
    assert [db.one("SHOW lock_timeout"), db.one("SHOW statement_timeout")] == ["10s", longest]
    assert db.one("SHOW transaction_timeout") == "330s"


def test_what_takes_too_long_is_tried_again(connect: Callable[[str], Database]) -> None:
    db = connect("reaper")
    db.rows("SET statement_timeout = '20ms'")
    with pytest.raises(RetryLater, match="statement timeout"):
        db.rows("SELECT pg_sleep(30)")


def test_the_values_of_an_operator_stay(postgres_dsn: str, connect: Callable[[str], Database]) -> None:
    owner = Database(postgres_dsn, "test")
    owner.rows("ALTER ROLE penstock_logs SET statement_timeout = '7s'")
    owner.rows("DELETE FROM schema_ledger WHERE file = 'roles/roles.sql'")
    try:
        assert migrate.migrate(postgres_dsn) == ["roles/roles.sql"]
        assert connect("logs").one("SHOW statement_timeout") == "7s"
    finally:
        owner.rows("ALTER ROLE penstock_logs SET statement_timeout = '300s'")
        owner.close()
