"""The life of jobs on a real Postgres: each transition, its losers, and what follows from it."""

from __future__ import annotations

from penstock.core.ids import uuid4, uuid7
from penstock.store import jobs, outbox, queries, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.testing.graphs import ACTOR, POLICY, World

DIAMOND = [(0, 1), (0, 2), (1, 3), (2, 3)]


def resolve(world: World, becomes: str = "SKIPPED", reason: str | None = "dependency-failed") -> None:
    waiting = [one["job_id"] for one in world.changes.undecided]
    world.changes.undecided.clear()
    rows = [{"job_id": job_id, "becomes": becomes, "reason": reason} for job_id in waiting]
    jobs.resolve(world.db, world.changes, rows, actor=ACTOR)


def test_roots_are_born_queued_and_the_diamond_runs_to_success(db: Database) -> None:
    world = World(db, [{}] * 4, DIAMOND)
    assert world.states() == ["QUEUED", "PENDING", "PENDING", "PENDING"]
    world.run(0)
    assert world.states() == ["SUCCESS", "QUEUED", "QUEUED", "PENDING"]
    assert world.state() == "RUNNING"
    world.run(1, 2)
    world.run(3)
    assert world.states() == ["SUCCESS"] * 4
    assert world.state() == "SUCCESS"
    assert world.history(3) == [
        (1, None, "PENDING", None),
        (2, "PENDING", "QUEUED", None),
        (3, "QUEUED", "ASSIGNED", None),
        (4, "ASSIGNED", "RUNNING", None),
        (5, "RUNNING", "SUCCESS", None),
    ]
    assert db.one("SELECT count(*) FROM open_pipelines WHERE pipeline_id = %s::uuid", (world.pipeline,)) == 0
    assert db.one("SELECT count(*) FROM leases WHERE job_id = ANY(%s::uuid[])", (world.jobs,)) == 0


def test_the_events_are_exactly_the_history(db: Database) -> None:
    world = World(db, [{}] * 4, DIAMOND)
    for numbers in ((0,), (1, 2), (3,)):
        world.run(*numbers)
    told = sorted((event["job_id"], event["version"], event["state"]) for event in world.changes.jobs)
    kept = db.rows(
        "SELECT job_id::text, version, state FROM job_transitions WHERE pipeline_id = %s::uuid ORDER BY 1, 2",
        (world.pipeline,),
    )
    assert told == kept
    assert [event["version"] for event in world.changes.pipelines] == [1, 2, 3]
    assert world.changes.pipelines[-1]["counts"] == {"SUCCESS": 4}


def test_only_one_claim_wins(db: Database) -> None:
    world = World(db, [{}])
    assert world.claim(0) == [0]
    assert world.claim(0) == []
    assert db.one("SELECT attempt FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == 1
    assert db.one("SELECT count(*) FROM ready WHERE job_id = %s::uuid", (world.jobs[0],)) == 0


def test_a_stale_token_changes_nothing(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    before = world.history(0)
    assert world.finish(0, token=uuid4()) == set()
    assert world.history(0) == before
    assert world.finish(0) == {world.jobs[0]}
    assert world.finish(0) == set()
    assert world.states() == ["SUCCESS"]


def test_start_is_current_when_repeated(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    assert world.start(0) == world.start(0) == {world.jobs[0]}
    assert [row[2] for row in world.history(0)] == ["QUEUED", "ASSIGNED", "RUNNING"]
    world.finish(0)
    assert world.start(0) == set()


def test_a_failure_leaves_its_children_to_decide(db: Database) -> None:
    world = World(db, [{}] * 3, [(0, 1), (1, 2)])
    world.run(0, success=False)
    assert [one["job_id"] for one in world.changes.undecided] == [world.jobs[1]]
    facts = jobs.undecided(db, [world.jobs[1]])
    assert facts[0]["failed"] == 1
    assert facts[0]["condition"] == ""
    resolve(world)
    assert [one["job_id"] for one in world.changes.undecided] == [world.jobs[2]]
    resolve(world)
    assert world.states() == ["FAILED", "SKIPPED", "SKIPPED"]
    assert world.state() == "FAILED"


def test_continue_on_error_lets_children_go_and_the_pipeline_succeed(db: Database) -> None:
    world = World(db, [{"continue_on_error": True}, {}], [(0, 1)])
    world.run(0, success=False)
    assert world.states() == ["FAILED", "QUEUED"]
    world.run(1)
    assert world.state() == "SUCCESS"


def test_a_conditional_child_is_never_queued_by_sql(db: Database) -> None:
    world = World(db, [{}, {"condition": "always"}], [(0, 1)])
    world.run(0)
    assert world.states() == ["SUCCESS", "PENDING"]
    resolve(world, "QUEUED", None)
    world.run(1)
    assert world.state() == "SUCCESS"


def test_retries_are_charged_by_starts(db: Database) -> None:
    world = World(db, [{"retry_max": 1}])
    world.run(0, success=False)
    assert world.states() == ["RETRYING"]
    assert world.finish(0) == set(), "its token is void"
    jobs.retry_due(db, world.changes, limit=10, actor=ACTOR)
    assert world.states() == ["QUEUED"]
    world.run(0, success=False)
    assert world.states() == ["FAILED"]
    assert db.rows("SELECT attempt, tries FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == [(2, 2)]
    kept = db.rows(
        "SELECT attempt, state, reason, exit_code FROM attempts WHERE job_id = %s::uuid ORDER BY 1",
        (world.jobs[0],),
    )
    assert kept == [(1, "RETRYING", "exit-code", 1), (2, "FAILED", "exit-code", 1)]


def test_an_unstarted_lease_comes_back_without_a_try(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0, lease_seconds=-1)
    due = [lease for lease in jobs.expired(db, [world.session], 1000) if lease["job_id"] == world.jobs[0]]
    taken = jobs.release(db, world.changes, due, expired=True, policy=POLICY, actor=ACTOR)
    assert taken == {world.jobs[0]}
    assert world.history(0)[-1] == (3, "ASSIGNED", "QUEUED", "start-timeout")
    assert db.rows("SELECT tries, infra_tries, token FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == [
        (0, 0, None)
    ]
    assert world.claim(0) == [0]


def test_a_lost_worker_costs_an_infra_try_and_fails_at_last(db: Database) -> None:
    world = World(db, [{}])
    for _ in range(4):
        world.claim(0)
        world.start(0, ttl_seconds=-1)
        due = [lease for lease in jobs.expired(db, [world.session], 1000) if lease["job_id"] == world.jobs[0]]
        jobs.release(db, world.changes, due, expired=True, policy=POLICY, actor=ACTOR)
    assert world.states() == ["FAILED"]
    assert world.history(0)[-1][3] == "worker-lost"
    assert db.rows("SELECT tries, infra_tries FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == [(0, 4)]


def test_a_living_lease_is_not_taken_back(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    world.start(0)
    items = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]]}]
    assert jobs.release(db, world.changes, items, expired=True, policy=POLICY, actor=ACTOR) == set()
    assert jobs.release(db, world.changes, items, expired=False, policy=POLICY, actor=ACTOR) == set()


def test_claims_without_a_start_end_in_start_refused(db: Database) -> None:
    world = World(db, [{}])
    for given_back in [*([True] * 30), *([False] * 20)]:
        assert world.states() == ["QUEUED"]
        world.claim(0, lease_seconds=-1)
        items = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]]}]
        jobs.release(db, world.changes, items, expired=not given_back, policy=POLICY, actor=ACTOR)
    assert world.states() == ["FAILED"]
    assert world.history(0)[-1][3] == "start-refused"


def test_renewal_says_ok_cancel_or_void(db: Database) -> None:
    world = World(db, [{}] * 3)
    world.claim(0, 1, 2)
    world.start(0, 1)
    jobs.cancel(
        db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=world.jobs[1], actor=ACTOR
    )
    beat = {
        "session_id": world.session, "n": 1, "kind": "runner", "name": "r", "pool": "default",
        "state": "BUSY", "slots": 3, "capacity": None, "labels": [], "attempts": 3,
    }  # fmt: skip
    held = [
        {"session_id": world.session, "job_id": job_id, "attempt": 1, "token": world.tokens[job_id]}
        for job_id in world.jobs
    ]
    held[2]["token"] = uuid4()
    db.rows("UPDATE leases SET expires_at = clock_v1() WHERE job_id = ANY(%s::uuid[])", (world.jobs,))
    answers = workers.renew(db, [beat], held, ttl_seconds=60)
    assert [(answer["verdict"], answer["started"]) for answer in answers] == [
        (verdict, started)
        for _, verdict, started in sorted(
            zip(world.jobs, ["ok", "cancel", "void"], [True, True, False], strict=True)
        )
    ]
    left = db.rows(
        "SELECT job_id::text, expires_at > clock_v1() + interval '50 s' FROM leases"
        " WHERE job_id = ANY(%s::uuid[])",
        (world.jobs,),
    )
    assert dict(left) == {world.jobs[0]: True, world.jobs[1]: True, world.jobs[2]: False}


def test_cancel_in_every_state(db: Database) -> None:
    world = World(db, [{}, {}, {}, {"retry_max": 1}, {}], [(0, 4)])
    world.claim(0, 1, 3)
    world.start(1)
    world.finish(3, success=False)
    assert world.states() == ["ASSIGNED", "RUNNING", "QUEUED", "RETRYING", "PENDING"]
    outcome = jobs.cancel(
        db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR
    )
    assert outcome == "cancelled"
    assert world.states() == ["CANCELLING", "CANCELLING", "CANCELLED", "CANCELLED", "CANCELLED"]
    assert world.state() == "CANCELLING"
    assert {stop["job_id"] for stop in world.changes.stops} == {world.jobs[0], world.jobs[1]}
    assert world.claim(2) == []
    assert world.finish(0, success=False) == {world.jobs[0]}
    assert world.finish(1) == {world.jobs[1]}, "a success that comes after the cancel does not win"
    assert world.states() == ["CANCELLED"] * 5
    assert world.state() == "CANCELLED"
    again = jobs.cancel(db, Changes(), tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR)
    assert again == "terminal"


def test_cancel_of_another_tenant_is_absent(db: Database) -> None:
    world = World(db, [{}])
    outcome = jobs.cancel(
        db, world.changes, tenant="other", pipeline_id=world.pipeline, job_id=None, actor=ACTOR
    )
    assert outcome == "absent"
    assert world.states() == ["QUEUED"]


def test_a_cancelling_lease_that_expires_is_cancelled(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    jobs.cancel(db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR)
    due = [lease for lease in jobs.expired(db, [world.session], 1000) if lease["job_id"] == world.jobs[0]]
    jobs.release(db, world.changes, due, expired=True, policy=POLICY, actor=ACTOR)
    assert world.states() == ["CANCELLED"]
    assert world.state() == "CANCELLED"


def test_a_finish_that_comes_first_wins_over_the_cancel(db: Database) -> None:
    world = World(db, [{}])
    world.run(0)
    outcome = jobs.cancel(
        db, world.changes, tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR
    )
    assert outcome == "terminal"
    assert world.states() == ["SUCCESS"]


def test_the_sweep_finds_what_lost_its_event(db: Database) -> None:
    world = World(db, [{}, {}, {}], [(0, 1)])
    world.run(0, success=False)
    world.changes.undecided.clear()
    db.rows("DELETE FROM ready WHERE job_id = %s::uuid", (world.jobs[2],))
    found = Changes()
    jobs.lost(db, found, older_than=0)
    assert world.jobs[1] in [one["job_id"] for one in found.undecided]
    assert [row["job_id"] for row in found.ready] == [world.jobs[2]]


def test_the_relay_gives_back_what_was_not_acked(db: Database) -> None:
    world = World(db, [{}])
    again, nothing = Changes(), Changes()
    outbox.relay(db, again, older_than=0, limit=1000)
    mine = [event for event in again.jobs if event["job_id"] == world.jobs[0]]
    assert [event["version"] for event in mine] == [1]
    outbox.acked(db, again.outbox_ids)
    outbox.relay(db, nothing, older_than=0, limit=1000)
    assert nothing.outbox_ids == []
    assert outbox.oldest_age(db) == 0


def test_an_attempt_that_never_ran_costs_no_try_and_is_no_success(db: Database) -> None:
    world = World(db, [{}, {}])
    world.claim(0, 1)
    world.finish(0, success=True, ran=False)
    world.finish(1, success=False, ran=False, reason="infra-error")
    assert world.states() == ["FAILED", "RETRYING"]
    for number in (0, 1):
        assert db.one("SELECT tries FROM jobs WHERE id = %s::uuid", (world.jobs[number],)) == 0
        assert "RUNNING" not in [row[2] for row in world.history(number)]


def tries(world: World, number: int) -> list[tuple[str, int]]:
    """(state, tries) of a job as published."""
    told = [event for event in world.changes.jobs if event["job_id"] == world.jobs[number]]
    return [(event["state"], event["tries"]) for event in sorted(told, key=lambda event: event["version"])]


def test_published_tries_are_those_charged_to_the_retry_policy(db: Database) -> None:
    world = World(db, [{"retry_max": 1}])
    world.claim(0)
    world.finish(0, success=False, ran=False, reason="infra-error")  # it never ran
    jobs.retry_due(db, world.changes, limit=10, actor=ACTOR)
    world.claim(0)
    world.finish(0, success=False, reason="infra-error")  # its start is folded in
    jobs.retry_due(db, world.changes, limit=10, actor=ACTOR)
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    lost = [{"job_id": world.jobs[0], "token": world.tokens[world.jobs[0]]}]
    jobs.release(db, world.changes, lost, expired=True, policy=POLICY, actor=ACTOR)
    assert tries(world, 0)[1:] == [
        ("ASSIGNED", 0), ("RETRYING", 0), ("QUEUED", 0),
        ("ASSIGNED", 0), ("RUNNING", 1), ("RETRYING", 0), ("QUEUED", 0),
        ("ASSIGNED", 0), ("RUNNING", 1), ("QUEUED", 0),
    ]  # fmt: skip
    world.run(0, success=False)
    jobs.retry_due(db, world.changes, limit=10, actor=ACTOR)
    world.run(0, success=False)
    assert world.states() == ["FAILED"], "one further try, however often it was lost before"
    assert [told for told in tries(world, 0)[-6:] if told[0] != "QUEUED"] == [
        ("RUNNING", 1), ("RETRYING", 1), ("ASSIGNED", 1), ("RUNNING", 2), ("FAILED", 2),
    ]  # fmt: skip
    kept = db.rows(
        "SELECT state, tries FROM job_transitions WHERE job_id = %s::uuid ORDER BY version", (world.jobs[0],)
    )
    assert kept == tries(world, 0)
    found = queries.job(db, "default", world.jobs[0])
    assert found is not None
    assert found["tries"] == 2


def test_a_drained_runner_s_job_runs_again(db: Database) -> None:
    world = World(db, [{}])
    world.claim(0)
    world.start(0)
    world.finish(0, success=False, reason="worker-lost", exit_code=143)
    assert world.states() == ["RETRYING"]
    jobs.retry_due(db, world.changes, limit=10, actor=ACTOR)
    world.run(0)
    assert world.states() == ["SUCCESS"]
    assert db.rows("SELECT tries, infra_tries FROM jobs WHERE id = %s::uuid", (world.jobs[0],)) == [(1, 1)]


def test_an_ended_attempt_is_renewed_until_its_report_comes(db: Database) -> None:
    world = World(db, [{}, {}])
    world.claim(0, 1, lease_seconds=0)
    held = [
        {
            "session_id": world.session,
            "job_id": one,
            "attempt": 1,
            "token": world.tokens[one],
            "ended": number == 0,
        }
        for number, one in enumerate(world.jobs)
    ]
    workers.renew(db, [], held, ttl_seconds=60)
    over = {lease["job_id"] for lease in jobs.expired(db, [world.session], 1000)}
    assert world.jobs[0] not in over
    assert world.jobs[1] in over


def test_many_cancels_are_one_transaction_with_an_outcome_each(db: Database) -> None:
    """Whole pipelines and single jobs, in any state, known or not, of this tenant or another."""
    running = World(db, [{}, {}], edges=[(0, 1)])
    running.claim(0)
    running.start(0)
    single = World(db, [{}, {}])
    ended = World(db, [{}])
    ended.run(0)
    other, nowhere = World(db, [{}]), uuid7(0)
    wishes = [
        ("default", running.pipeline, None),
        ("default", single.pipeline, single.jobs[1]),
        ("default", single.pipeline, running.jobs[0]),
        ("default", ended.pipeline, None),
        ("stranger", other.pipeline, None),
        ("default", nowhere, None),
        ("default", running.pipeline, None),
    ]
    changes = Changes()
    assert jobs.cancel_all(db, changes, wishes, actor=ACTOR) == [
        "cancelled",
        "cancelled",
        "no-such-job",
        "terminal",
        "absent",
        "absent",
        "cancelled",
    ]
    assert running.states() == ["CANCELLING", "CANCELLED"]
    assert single.states() == ["QUEUED", "CANCELLED"]
    assert (ended.states(), other.states()) == (["SUCCESS"], ["QUEUED"])
    assert (running.state(), single.state()) == ("CANCELLING", "PENDING")
    assert [stop["job_id"] for stop in changes.stops] == [running.jobs[0]]
    assert len(changes.outbox_ids) == 1
    assert sorted(event["version"] for event in changes.jobs if event["state"] == "CANCELLED") == [2, 2]
    again = Changes()
    assert jobs.cancel_all(db, again, wishes[:2], actor=ACTOR) == ["cancelled", "terminal"]
    assert not again, "a repeat changes nothing"
    assert jobs.cancel_all(db, again, [], actor=ACTOR) == []
    running.finish(0)
    assert running.state() == "CANCELLED"


def test_a_transaction_takes_no_more_cancels_than_make_a_thousand_jobs(db: Database) -> None:
    small, large, behind = World(db, [{}]), World(db, [{}] * 1000), World(db, [{}] * 2)
    wishes: list[tuple[str, str, str | None]]
    wishes = [("default", one.pipeline, None) for one in (small, large, behind, small)]
    changes = Changes()
    assert jobs.cancel_all(db, changes, wishes, actor=ACTOR) == ["cancelled"] * 3 + ["terminal"]
    assert len(changes.outbox_ids) == 2, "what stands behind the large one has a transaction of its own"
    assert {one.state() for one in (small, large, behind)} == {"CANCELLED"}
    alone = World(db, [{}] * 2), World(db, [{}] * 1001)
    wishes = [("default", one.pipeline, one.jobs[0]) for one in alone] * 2
    changes = Changes()
    assert jobs.cancel_all(db, changes, wishes, actor=ACTOR) == ["cancelled"] * 4
    assert len(changes.outbox_ids) == 1, "a single job is one, whatever its pipeline has"
