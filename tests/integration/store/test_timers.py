"""Run timeouts, graces and outages by the database clock, which the tests turn forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from penstock.core.ids import uuid4
from penstock.definition.model import DEFAULT_GRACE_SECONDS, DEFAULT_TIMEOUT_SECONDS
from penstock.store import jobs, queries, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.testing.graphs import ACTOR, POLICY, World

TTL = 15.0
Later = Callable[[float], None]


@pytest.fixture
def later(db: Database) -> Iterator[Later]:
    """Moves the database clock on, which stands still otherwise."""
    at = db.one("SELECT clock_timestamp()")
    clock = "CREATE OR REPLACE FUNCTION clock_v1() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT %s'"

    def move(seconds: float) -> None:
        nonlocal at
        at += timedelta(seconds=seconds)
        db.rows(clock % f"timestamptz ''{at.isoformat()}''")  # type: ignore[arg-type]

    move(0)
    yield move
    db.rows(clock % "clock_timestamp()")  # type: ignore[arg-type]


def timers(world: World, number: int = 0) -> dict[str, int]:
    """Kind -> seconds until it is due."""
    rows = world.db.rows(
        "SELECT kind, round(extract(epoch FROM due_at - clock_v1()))::int FROM timers"
        " WHERE job_id = %s::uuid",
        (world.jobs[number],),
    )
    return dict(rows)


def lease(world: World, number: int = 0) -> tuple[int, str | None]:
    """Seconds until it is over, and why a timer ended it."""
    rows = world.db.rows(
        "SELECT round(extract(epoch FROM expires_at - clock_v1()))::int, ending FROM leases"
        " WHERE job_id = %s::uuid",
        (world.jobs[number],),
    )
    return rows[0][0], rows[0][1]


def renew(world: World, number: int = 0) -> dict[str, object]:
    held = {
        "session_id": world.session, "job_id": world.jobs[number], "attempt": 1,
        "token": world.tokens[world.jobs[number]], "ended": False,
    }  # fmt: skip
    return workers.renew(world.db, [], [held], ttl_seconds=TTL)[0]


def expire(world: World, number: int = 0) -> set[str]:
    items = [{"job_id": world.jobs[number], "token": world.tokens[world.jobs[number]], "jitter": 0.5}]
    return jobs.release(world.db, world.changes, items, expired=True, policy=POLICY, actor=ACTOR)


def cancel(world: World) -> None:
    jobs.cancel(
        world.db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR
    )


def started(db: Database, **spec: object) -> World:
    world = World(db, [spec])
    world.claim(0)
    world.start(0, ttl_seconds=TTL)
    return world


def stop_due(world: World) -> list[tuple[str, str]]:
    assert world.session in jobs.due_sessions(world.db)
    rows = jobs.stop_due(world.db, [world.session], 100)
    return [(row["job_id"], row["reason"]) for row in rows]


def test_a_start_sets_the_run_timer_and_the_end_deletes_it(db: Database) -> None:
    world = World(db, [{"spec": {"timeout": 120.5}}, {}, {}])
    world.claim(0, 1, 2)
    assert timers(world) == {}, "there is no start timer"
    world.start(0, 1)
    world.finish(2)
    assert [timers(world, n) for n in range(3)] == [{"run": 120}, {"run": 3600}, {}]
    world.finish(0, 1)
    assert [timers(world, n) for n in range(3)] == [{}, {}, {}]


def test_the_defaults_are_those_of_the_definition() -> None:
    assert (DEFAULT_TIMEOUT_SECONDS, DEFAULT_GRACE_SECONDS) == (3600, 30), "start_v1, cancel_v1, stop_due_v1"


def test_a_due_run_timer_orders_the_stop_and_ends_renewal(db: Database, later: Later) -> None:
    world = started(db, spec={"timeout": 60, "grace": 5})
    later(59)
    assert world.session not in jobs.due_sessions(db)
    later(2)
    assert jobs.stop_due(db, [uuid4()], 100) == [], "the session of another replica"
    assert stop_due(world) == [(world.jobs[0], "run-timeout")]
    assert world.session not in jobs.due_sessions(db)
    assert lease(world) == (15, "run-timeout")
    later(10)
    answer = renew(world)
    assert (answer["verdict"], answer["ending"]) == ("ok", "run-timeout")
    assert lease(world) == (5, "run-timeout"), "not renewed"
    assert expire(world) == set()
    later(6)
    assert expire(world) == {world.jobs[0]}
    assert world.states() == ["FAILED"]
    assert world.history(0)[-1] == (4, "RUNNING", "FAILED", "run-timeout")
    assert timers(world) == {}


@pytest.mark.parametrize("report", [{"success": True}, {"reason": "run-timeout"}, {"reason": "infra-error"}])
def test_the_report_of_what_ran_too_long_is_run_timeout(
    db: Database, later: Later, report: dict[str, object]
) -> None:
    world = started(db, spec={"timeout": 60})
    later(61)
    stop_due(world)
    assert world.finish(0, **{"success": False, **report}) == {world.jobs[0]}  # type: ignore[arg-type]
    assert world.history(0)[-1] == (4, "RUNNING", "FAILED", "run-timeout")
    assert db.rows("SELECT tries, infra_tries FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == [(1, 0)]


def test_what_ran_too_long_and_expires_is_tried_again_by_policy(db: Database, later: Later) -> None:
    world = started(db, spec={"timeout": 60}, retry_max=1)
    later(61)
    stop_due(world)
    later(41)
    policy = jobs.Policy(retry_base=30.0)
    items = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]], "jitter": 0.5}]
    jobs.release(db, world.changes, items, expired=True, policy=policy, actor=ACTOR)
    assert world.history(0)[-1] == (4, "RUNNING", "RETRYING", "run-timeout")
    assert timers(world) == {"retry": 15}
    assert db.rows("SELECT tries, infra_tries FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == [(1, 0)]
    later(16)
    jobs.retry_due(db, world.changes, limit=1000, actor=ACTOR)
    assert world.states() == ["QUEUED"]


def queue_due(world: World) -> None:
    jobs.queue_due(world.db, world.changes, limit=1000, actor=ACTOR)


def test_a_job_that_waits_too_long_in_the_queue_fails(db: Database, later: Later) -> None:
    world = World(db, [{"spec": {"queue": 60}}, {}], [(0, 1)])
    assert timers(world) == {"queue": 60}
    later(59)
    queue_due(world)
    assert world.states() == ["QUEUED", "PENDING"]
    later(2)
    queue_due(world)
    assert world.history(0)[-1] == (2, "QUEUED", "FAILED", "queue-timeout")
    assert [one["job_id"] for one in world.changes.undecided] == [world.jobs[1]]
    assert world.claim(0) == []
    assert timers(world) == {}
    assert world.jobs[0] not in [key.job_id for key in jobs.ready_keys(db)]


def test_the_time_in_the_queue_counts_anew_each_time(db: Database, later: Later) -> None:
    world = World(db, [{"spec": {"queue": 60}}] * 2)
    later(40)
    world.claim(0, 1)
    world.start(1)
    items = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]]}]
    jobs.release(db, world.changes, items, expired=False, policy=POLICY, actor=ACTOR)
    assert timers(world) == {"queue": 60}
    later(30)
    queue_due(world)
    assert world.states() == ["QUEUED", "RUNNING"], "that of the claimed one had no effect"
    assert set(timers(world, 1)) == {"run"}
    later(31)
    queue_due(world)
    assert world.states() == ["FAILED", "RUNNING"]
    world.finish(1)
    assert world.state() == "FAILED"


def test_a_cancel_that_nobody_heeds_ends_with_its_grace(db: Database, later: Later) -> None:
    world = started(db, spec={"timeout": 600, "grace": 20})
    cancel(world)
    assert timers(world) == {"grace": 30}
    later(25)
    assert renew(world)["verdict"] == "cancel"
    assert lease(world) == (15, None)
    later(6)
    assert stop_due(world) == [(world.jobs[0], "cancelled")]
    assert renew(world)["verdict"] == "cancel"
    assert lease(world) == (9, "cancelled")
    later(10)
    expire(world)
    assert world.states() == ["CANCELLED"]
    assert timers(world) == {}


def test_a_cancel_takes_the_place_of_the_run_timer(db: Database, later: Later) -> None:
    world = started(db, spec={"timeout": 60})
    later(61)
    stop_due(world)
    cancel(world)
    assert world.finish(0, success=False, reason="run-timeout") == {world.jobs[0]}
    assert world.history(0)[-1] == (5, "CANCELLING", "CANCELLED", "cancelled")
    assert timers(world) == {}


def test_an_outage_extends_what_waits_once_whoever_sees_it_first(db: Database, later: Later) -> None:
    db.rows("DELETE FROM reaper_clock")

    def well(reaper: str) -> float:
        return jobs.outage(db, reaper, gap_seconds=2, longest_seconds=TTL)

    world = started(db, spec={"timeout": 600})
    stopped = started(db)
    cancel(stopped)
    granted = World(db, [{}])
    granted.claim(0, lease_seconds=TTL)
    assert [well("a"), well("b")] == [0, 0]
    later(1.5)
    assert [well("b"), well("a")] == [0, 0], "that was no outage"
    later(60)
    assert well("a") == pytest.approx(60, abs=1)
    assert well("b") == 0, "seen to already"
    assert {lease(one)[0] for one in (world, stopped, granted)} <= {13, 14}
    assert timers(world)["run"] in (598, 599)
    assert timers(stopped)["grace"] in (38, 39)
    later(3)
    assert well("c") == pytest.approx(3, abs=1)
    assert lease(world)[0] in (13, 14)


def test_a_lease_of_after_the_outage_does_not_become_too_long(db: Database, later: Later) -> None:
    jobs.outage(db, "a", gap_seconds=2, longest_seconds=TTL)
    later(60)
    world = started(db)
    assert jobs.outage(db, "a", gap_seconds=2, longest_seconds=TTL) > 59
    assert lease(world)[0] == 15


def test_a_clock_that_is_set_back_hides_no_later_outage(db: Database, later: Later) -> None:
    db.rows("DELETE FROM reaper_clock")
    later(600)
    jobs.outage(db, "gone", gap_seconds=2, longest_seconds=TTL)
    later(-600)
    assert jobs.outage(db, "a", gap_seconds=2, longest_seconds=TTL) == 0
    later(10)
    assert jobs.outage(db, "a", gap_seconds=2, longest_seconds=TTL) == pytest.approx(10, abs=1)


def test_late_reports_are_refused_and_stay_visible(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    old = world.tokens[world.jobs[0]]
    expire(world)
    world.claim(0)
    assert world.finish(0, token=old) == set()
    before = world.history(0)
    for what in ("started", "ended, success, exit 0", "ended, signal"):
        assert jobs.late(db, [{"job_id": world.jobs[0], "attempt": 1, "what": what}]) == 0
    kept = db.rows(
        "SELECT state, reported, late, late_at IS NOT NULL FROM attempts WHERE job_id = %s::uuid",
        (world.jobs[0],),
    )
    assert kept == [("QUEUED", False, "ended, success, exit 0", True)]
    assert world.history(0) == before
    shown, living = queries.attempts(db, "default", world.jobs[0]) or []
    assert (shown["late"], living["late"], living["late_at"]) == ("ended, success, exit 0", None, None)
    assert shown["late_at"].endswith("Z")
    world.finish(0)
    again = [{"job_id": world.jobs[0], "attempt": 2, "what": "ended, success"}]
    assert jobs.late(db, again) == 1, "a repeat of what was accepted is not late"
    assert (
        db.one("SELECT late FROM attempts WHERE job_id = %s::uuid AND attempt = 2", (world.jobs[0],)) is None
    )


def test_a_pipeline_that_was_forgotten_is_closed(db: Database) -> None:
    world, open_still = World(db, [{}, {}]), World(db, [{}])
    db.rows(
        "UPDATE open_pipelines SET remaining = remaining + 1 WHERE pipeline_id = %s::uuid", (world.pipeline,)
    )
    world.run(0, 1)
    assert world.state() == "RUNNING", "the planted fault"
    found = Changes()
    closed = jobs.reconcile(db, found, limit=100, actor=ACTOR)
    assert world.pipeline in closed
    assert open_still.pipeline not in closed
    assert world.state() == "SUCCESS"
    told = [one for one in found.pipelines if one["pipeline_id"] == world.pipeline]
    assert [(one["state"], one["counts"]) for one in told] == [("SUCCESS", {"SUCCESS": 2})]
    assert found.outbox_ids
    assert jobs.reconcile(db, Changes(), limit=100, actor=ACTOR) == []


def test_how_long_things_are_over(db: Database, later: Later) -> None:
    db.rows("DELETE FROM leases")
    db.rows("DELETE FROM timers")
    assert jobs.overdue(db) == (0, 0)
    world = started(db, spec={"timeout": 5})
    later(20)
    expired, due = jobs.overdue(db)
    assert expired == pytest.approx(5, abs=1)
    assert due == pytest.approx(15, abs=1)
    assert jobs.lease_counts(db) == (1, 1)
    found = queries.job(db, "default", world.jobs[0])
    assert found is not None


def test_every_lease_of_an_exclusive_attempt_lasts_its_own_time(db: Database, later: Later) -> None:
    world = World(db, [{"spec": {"exclusive": True}}, {"spec": {"exclusive": True, "grace": 2}}, {}])
    world.claim(0, 1, 2)
    assert [lease(world, n)[0] for n in range(3)] == [120, 92, 15], "from the claim on"
    assert [grant.get("lease") for grant in granted(world)] == [120.0, 92.0, None]
    later(10)
    world.start(0, 1, 2, ttl_seconds=TTL)
    assert [lease(world, n)[0] for n in range(3)] == [120, 92, 15]
    later(10)
    for number in range(3):
        assert renew(world, number)["verdict"] == "ok"
    assert [lease(world, n)[0] for n in range(3)] == [120, 92, 15]
    later(100)
    assert [len(expire(world, n)) for n in range(3)] == [0, 1, 1]
    later(21)
    assert expire(world) == {world.jobs[0]}
    assert world.history(0)[-1] == (4, "RUNNING", "QUEUED", "worker-lost")


def test_an_exclusive_attempt_that_is_cancelled_keeps_its_lease_until_its_grace_is_over(
    db: Database, later: Later
) -> None:
    world = started(db, spec={"exclusive": True, "grace": 20})
    later(50)
    cancel(world)
    assert lease(world) == (60, None)
    assert renew(world)["verdict"] == "cancel"
    assert lease(world) == (110, None)
    later(31)
    assert stop_due(world) == [(world.jobs[0], "cancelled")]
    renew(world)
    assert lease(world) == (79, "cancelled"), "as long as it may live there; not renewed"
    later(80)
    expire(world)
    assert world.states() == ["CANCELLED"]


def test_an_exclusive_attempt_that_ran_too_long_keeps_its_lease(db: Database, later: Later) -> None:
    world = started(db, spec={"exclusive": True, "timeout": 30})
    later(31)
    assert stop_due(world) == [(world.jobs[0], "run-timeout")]
    assert lease(world) == (89, "run-timeout")


def test_an_outage_lengthens_the_lease_of_an_exclusive_attempt(db: Database, later: Later) -> None:
    db.rows("DELETE FROM reaper_clock")
    world = World(db, [{"spec": {"exclusive": True}}, {}])
    world.claim(0, 1)
    world.start(0, 1, ttl_seconds=TTL)
    assert jobs.outage(db, "one", gap_seconds=2, longest_seconds=TTL) == 0
    later(60)
    assert round(jobs.outage(db, "one", gap_seconds=2, longest_seconds=TTL)) == 60
    assert [lease(world, n)[0] for n in range(2)] == [120, 15]


def granted(world: World) -> list[dict[str, object]]:
    """All grants so far, by name."""
    return sorted(world.changes.grants, key=lambda grant: str(grant["name"]))
