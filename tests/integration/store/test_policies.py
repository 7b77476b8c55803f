"""Quotas, limits, pools and orders: set by hand, told to dispatchers, kept by claims and at the door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.store.test_races import in_its_own_thread, until_it_waits

from penstock.core.ids import uuid4, uuid7
from penstock.runtime.clock import SystemClock
from penstock.store import jobs, policies, requests
from penstock.store.changes import Changes
from penstock.store.database import Database, raw_connection
from penstock.testing.graphs import ACTOR, POLICY, World


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4()[:8]}"


@pytest.fixture(autouse=True)
def _no_policy_is_left(db: Database) -> Iterator[None]:
    yield
    for table in ("quotas", "limits", "pools", "runner_orders"):
        db.rows(f"DELETE FROM {table}")  # type: ignore[arg-type]


def quota(
    db: Database, tenant: str, pool: str = "*", running: int | None = None, queued: int | None = None
) -> None:
    policies.set_quota(db, Changes(), tenant, pool, running=running, queued=queued, actor=ACTOR)


def limit(
    db: Database, tenant: str, kind: policies.LimitKind, name: str, rate: float, burst: int = 1
) -> None:
    policies.set_limit(db, Changes(), tenant, kind, name, per_second=rate, burst=burst, actor=ACTOR)


def later(db: Database, seconds: float) -> None:
    """What the buckets had so many seconds ago, and gates that close so much earlier."""
    db.rows(
        "UPDATE limits SET filled_at = filled_at - make_interval(secs => %s),"
        " closed_until = closed_until - make_interval(secs => %s)",
        (seconds, seconds),
    )


def test_whoever_changes_a_policy_wakes_the_dispatchers(db: Database) -> None:
    changes = Changes()
    policies.set_quota(db, changes, "a", "*", weight=2.0, minimum=1, running=3, queued=4, actor=ACTOR)
    policies.set_limit(db, changes, "a", "tenant", "", per_second=0.5, burst=2, actor=ACTOR)
    policies.set_limit(db, changes, "a", "pool", "gpu", per_second=None, actor=ACTOR)
    policies.close_limit(db, changes, "a", "api", 60, actor=ACTOR)
    policies.pause_pool(db, changes, "gpu", by="alice", actor=ACTOR)
    policies.set_overtaking(db, changes, "gpu", 3, actor=ACTOR)
    policies.order_runner(db, changes, "r1", "DRAINING", by="alice", actor=ACTOR)
    woken = [(one["tenant"], one["kind"], one["name"]) for one in changes.freed]
    assert woken == [("*", "policy", "")] * 7
    assert len(changes.outbox_ids) == 7
    found = policies.policies(db)
    assert found["quotas"] == [
        {"tenant": "a", "pool": "*", "weight": 2, "minimum": 1, "running": 3, "queued": 4}
    ]
    limits = [(one["tenant"], one["kind"], one["name"], one["per_second"]) for one in found["limits"]]
    assert limits == [("*", "pool", "gpu", None), ("a", "lock", "api", None), ("a", "tenant", "a", 0.5)]
    assert [round(one["opens_in"]) for one in found["limits"]] == [0, 60, 0]
    assert (found["pools"][0]["paused_by"], found["pools"][0]["overtaking"]) == ("alice", 3)
    assert (found["orders"][0]["name"], found["orders"][0]["state"]) == ("r1", "DRAINING")


def test_what_is_dropped_is_gone_and_what_is_not_there_wakes_nobody(db: Database) -> None:
    quota(db, "a", running=1)
    limit(db, "a", "lock", "api", 1)
    policies.pause_pool(db, Changes(), "gpu", by="alice", actor=ACTOR)
    policies.order_runner(db, Changes(), "r1", "QUARANTINED", by="alice", actor=ACTOR)
    for gone in (True, False):
        changes = Changes()
        assert [
            policies.drop_quota(db, changes, "a", "*", actor=ACTOR),
            policies.drop_limit(db, changes, "a", "lock", "api", actor=ACTOR),
            policies.resume_pool(db, changes, "gpu", actor=ACTOR),
            policies.resume_runner(db, changes, "r1", actor=ACTOR),
        ] == [gone] * 4
        assert len(changes.freed) == (4 if gone else 0)
    found = policies.policies(db)
    assert (found["quotas"], found["limits"], found["orders"]) == ([], [], [])
    assert found["pools"][0]["paused_at"] is None


def test_a_tenant_runs_no_more_than_its_quotas(db: Database, tenant: str) -> None:
    quota(db, tenant, "*", running=3)
    quota(db, tenant, "gpu", running=1)
    world = World(db, [{"pool": "gpu"}, {"pool": "gpu"}, {}, {}, {}], tenant=tenant)
    assert len(world.claim(0, 1)) == 1
    (wait,) = world.waits
    assert (wait["kind"], wait["name"], wait["most"], wait["held"]) == ("running", "gpu", 1, 1)
    assert len(world.claim(2, 3, 4)) == 2
    assert (world.waits[0]["name"], world.waits[0]["most"], world.waits[0]["held"]) == ("*", 3, 3)
    running = [number for number, state in enumerate(world.states()) if state == "ASSIGNED"]
    world.finish(*running)
    assert sorted({(one["kind"], one["name"]) for one in world.changes.freed}) == [
        ("running", "*"), ("running", "gpu"),
    ]  # fmt: skip
    assert len(world.claim(*({0, 1, 2, 3, 4} - set(running)))) == 2


def test_the_newest_quota_counts_whatever_ran_before_it(db: Database, tenant: str) -> None:
    quota(db, tenant, "*", running=1)
    world = World(db, [{}] * 4, tenant=tenant)
    assert world.claim(0) == [0]
    quota(db, tenant, "*", running=3)
    assert sorted(world.claim(1, 2)) == [1, 2]
    quota(db, tenant, "*", running=2)
    assert world.claim(3) == []
    assert (world.waits[0]["most"], world.waits[0]["held"]) == (2, 3)
    world.finish(0, 1)
    assert world.claim(3) == [3]


def test_the_quota_of_everybody_is_each_one_s_own_and_makes_pools_dedicated(
    db: Database, tenant: str
) -> None:
    quota(db, "*", "*", running=1)
    quota(db, "*", "gpu", running=0)
    quota(db, tenant, "gpu", running=2)
    mine, theirs = (World(db, [{"pool": "gpu"}, {}], tenant=one) for one in (tenant, f"{tenant}-2"))
    assert (mine.claim(0), theirs.claim(0)) == ([0], [])
    assert (theirs.waits[0]["name"], theirs.waits[0]["most"], theirs.waits[0]["holder"]) == ("gpu", 0, None)
    assert (mine.claim(1), theirs.claim(1)) == ([], [1])


def test_a_limit_lets_so_many_pass_and_then_so_many_a_second(db: Database, tenant: str) -> None:
    limit(db, tenant, "tenant", "", 0.5, burst=2)
    world = World(db, [{}] * 4, tenant=tenant)
    assert len(world.claim(0, 1, 2, 3)) == 2
    for wait in world.waits:
        assert (wait["kind"], wait["name"]) == ("limit", f"tenant/{tenant}")
        assert 1.5 < wait["opens_in"] <= 2
    now = db.one("SELECT extract(epoch FROM clock_v1())::float8")
    assert abs(world.waits[0]["opens_at"] - world.waits[0]["opens_in"] - now) < 5
    later(db, 2.1)
    left = [number for number, state in enumerate(world.states()) if state == "QUEUED"]
    assert len(world.claim(*left)) == 1
    later(db, 3600)
    assert len(world.claim(*left)) == 1
    other = World(db, [{}] * 3, tenant=f"{tenant}-2")
    assert len(other.claim(0, 1, 2)) == 3


def test_a_pool_s_limit_is_everybody_s_and_one_refused_takes_no_token(db: Database, tenant: str) -> None:
    limit(db, tenant, "pool", "gpu", 0.001, burst=2)
    name = uuid4()
    holder = World(db, [{"holds": [["lock", name, 1]]}], tenant=tenant)
    holder.claim(0)
    world = World(db, [{"pool": "gpu", "holds": [["lock", name, 1]]}, {"pool": "gpu"}], tenant=tenant)
    assert world.claim(0, 1) == [1]
    assert world.waits[0]["kind"] == "lock"
    other = World(db, [{"pool": "gpu"}] * 2, tenant=f"{tenant}-2")
    assert len(other.claim(0, 1)) == 1


def test_a_resource_that_says_wait_is_left_alone_for_so_long(db: Database, tenant: str) -> None:
    world = World(
        db, [{}, {"holds": [["lock", "api", None]]}, {"holds": [["lock", "db", None]]}], tenant=tenant
    )
    world.claim(0)
    world.finish(0, success=False, limited=[["api", 60.0], ["api", 30]])
    assert world.claim(1, 2) == [2]
    (wait,) = world.waits
    assert (wait["kind"], wait["name"]) == ("limit", "lock/api")
    assert 50 < wait["opens_in"] <= 60
    policies.close_limit(db, world.changes, tenant, "api", 5, actor=ACTOR)
    assert world.claim(1) == []
    assert world.waits[0]["opens_in"] > 50, "it is never opened by that"
    later(db, 61)
    assert world.claim(1) == [1]


def test_a_gate_that_opened_again_lets_all_of_a_claim_pass(db: Database, tenant: str) -> None:
    world = World(db, [{"holds": [["lock", "api", None]]}] * 3, tenant=tenant)
    policies.close_limit(db, world.changes, tenant, "api", 60, actor=ACTOR)
    assert world.claim(0, 1, 2) == []
    later(db, 61)
    assert sorted(world.claim(0, 1, 2)) == [0, 1, 2]


def test_a_limit_without_a_rate_lets_any_number_pass(db: Database, tenant: str) -> None:
    policies.set_limit(db, Changes(), tenant, "tenant", "", per_second=None, actor=ACTOR)
    assert sorted(World(db, [{}] * 3, tenant=tenant).claim(0, 1, 2)) == [0, 1, 2]
    assert [one["opens_in"] for one in policies.policies(db)["limits"]] == [0]


def test_reports_close_so_many_names_of_a_tenant_and_operators_any(db: Database, tenant: str) -> None:
    world = World(db, [{}, {}, {"holds": [["lock", "n0000", None]]}], tenant=tenant)
    world.claim(0, 1)
    world.finish(0, success=False, limited=[[f"n{at:04}", 60] for at in range(1001)])
    world.finish(1, success=False, limited=[["n0000", 90], ["late", 60]])
    policies.close_limit(db, world.changes, tenant, "by-hand", 60, actor=ACTOR)
    names = [one["name"] for one in policies.policies(db)["limits"]]
    assert names == ["by-hand", *(f"n{at:04}" for at in range(1000))]
    assert world.claim(2) == []
    assert world.waits[0]["opens_in"] > 80, "what is closed already is closed for longer"


def test_a_refused_report_closes_nothing(db: Database, tenant: str) -> None:
    world = World(db, [{}], tenant=tenant)
    world.claim(0)
    world.finish(0, token=uuid4(), limited=[["api", 60.0]])
    assert policies.policies(db)["limits"] == []


def test_pipelines_beyond_the_quota_of_unfinished_jobs_are_not_accepted(db: Database, tenant: str) -> None:
    quota(db, tenant, queued=3)
    first = World(db, [{}, {}], tenant=tenant)
    large = World(db, [{}, {}], tenant=tenant)
    small = World(db, [{}], tenant=tenant)
    assert [world.accepted.over for world in (first, large, small)] == [[], [large.pipeline], []]
    assert large.accepted.accepted == set()
    assert jobs.states(db, large.pipeline) == {}
    assert db.one("SELECT count(*) FROM requests WHERE pipeline_id = %s::uuid", (large.pipeline,)) == 0
    first.run(0)
    assert World(db, [{}], tenant=tenant).accepted.over == []


def test_who_waited_for_its_own_repeat_is_one_and_not_over_the_quota(postgres_dsn: str, tenant: str) -> None:
    db = Database(postgres_dsn, "test")
    source = World(db, [{}], tenant=tenant)
    source.run(0)
    quota(db, tenant, queued=1)
    wish = requests.Rerun(tenant, uuid4(), "00", source.pipeline, uuid7(SystemClock().now()))
    arguments = (tenant, wish.key, "00", source.pipeline, wish.pipeline_id)
    with raw_connection(postgres_dsn) as first:
        first.execute("BEGIN")
        first.execute("SELECT rerun_v1(%s, %s, %s, %s::uuid, false, NULL, %s::uuid, 'test')", arguments)
        with in_its_own_thread(
            postgres_dsn, lambda other: requests.rerun(other, Changes(), wish, actor=ACTOR)["outcome"]
        ) as outcomes:
            until_it_waits(db)
            first.execute("COMMIT")
    assert outcomes == ["repeat"]
    db.close()


def test_explaining_waits_for_nobody(postgres_dsn: str) -> None:
    db = Database(postgres_dsn, "test")
    world = World(db, [{}, {}])
    why = {"reason": "no-runner", "detail": {}, "text": "no runner", "at": "2026-01-01T00:00:00Z"}
    items = [{"job_id": job_id, "why": why} for job_id in sorted(world.jobs)]
    with raw_connection(postgres_dsn) as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM ready WHERE job_id = %s::uuid FOR UPDATE", (world.jobs[0],))
        db.rows("SET lock_timeout = '100ms'")
        assert jobs.explain(db, items) == 1
        other.execute("ROLLBACK")
    assert jobs.explain(db, items) == 1
    db.close()


def test_a_job_is_promoted_and_keeps_its_age(db: Database) -> None:
    world = World(db, [{"lane": "high"}, {}], [(0, 1)])
    before = jobs.ready_rows(db, world.jobs)[0]
    ask = [("default", "normal"), ("other", "critical"), ("default", "critical"), ("default", "critical")]
    changes = Changes()
    assert [
        jobs.promote(db, changes, tenant=tenant, job_id=world.jobs[0], lane=lane, actor=ACTOR)  # type: ignore[arg-type]
        for tenant, lane in ask
    ] == ["lower", "absent", "promoted", "same"]
    (told,) = changes.ready
    assert told == {**before, "lane": "critical", "resources": None, "holds": []}
    assert jobs.ready_rows(db, world.jobs)[0] == {**before, "lane": "critical"}
    assert len(world.history(0)) == 1, "no version is spent"
    assert (
        jobs.promote(db, changes, tenant="default", job_id=world.jobs[1], lane="high", actor=ACTOR)
        == "promoted"
    )
    assert len(changes.ready) == 1, "it is not in the queue yet"
    world.run(0)
    lanes = [(row["job_id"], row["lane"]) for row in jobs.ready_rows(db, world.jobs)]
    assert lanes == [(world.jobs[1], "high")]
    ended = jobs.promote(db, changes, tenant="default", job_id=world.jobs[0], lane="critical", actor=ACTOR)
    assert ended == "terminal"


def test_why_a_job_waits_is_written_when_it_is_news(db: Database) -> None:
    world = World(db, [{}, {}])
    why = {
        "reason": "no-runner",
        "detail": {"pool": "default"},
        "text": "no runner",
        "at": "2026-01-01T00:00:00Z",
    }
    items = [{"job_id": job_id, "why": why} for job_id in sorted(world.jobs)]
    assert jobs.explain(db, items) == 2
    assert jobs.explain(db, [{**one, "why": {**why, "at": "2026-01-01T00:00:09Z"}} for one in items]) == 0
    assert [row["why"] for row in jobs.ready_rows(db, world.jobs)] == [why, why]
    world.claim(0)
    assert jobs.explain(db, [{**one, "why": None} for one in items]) == 1
    assert jobs.explain(db, []) == 0


def test_whoever_takes_a_pool_over_knows_what_runs(db: Database, tenant: str) -> None:
    resources = {"cpu": 1.5, "memory": 1024}
    world = World(db, [{"pool": "gpu", "resources": resources}, {}], tenant=tenant)
    world.claim(0, 1)
    found = sorted(jobs.leases_by_session(db)[world.session])
    assert found == sorted(
        [
            jobs.Living(world.jobs[0], 1, tenant, "gpu", "noop", 1.5, 1024),
            jobs.Living(world.jobs[1], 1, tenant, "default", "noop", 0.0, 0),
        ]
    )


def test_what_a_job_asks_for_is_in_its_hint(db: Database) -> None:
    resources = {"cpu": 2.0, "arch": "x86_64"}
    world = World(db, [{"resources": resources, "immediate": True}, {}])
    told = {row["job_id"]: row for row in world.changes.ready}
    assert (told[world.jobs[0]]["resources"], told[world.jobs[0]]["immediate"]) == (resources, True)
    assert (told[world.jobs[1]]["resources"], told[world.jobs[1]]["holds"]) == (None, [])
    world.claim(0)
    items = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]]}]
    again = Changes()
    jobs.release(db, again, items, expired=False, policy=POLICY, actor=ACTOR)
    assert again.ready[0]["resources"] == resources
