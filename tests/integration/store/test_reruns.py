"""Reruns on a real Postgres: what runs again, what is taken over, and who is refused."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import msgspec
import pytest

from penstock.core.ids import is_uuid, uuid4, uuid7
from penstock.events import jobs as job_events
from penstock.events import pipelines as pipeline_events
from penstock.events.codec import encode
from penstock.kafka import publish
from penstock.runtime.clock import SystemClock
from penstock.store import jobs, queries, requests, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.store.requests import Rerun
from penstock.testing.graphs import ACTOR, POLICY, World
from penstock_services.advancer.decide import Facts, decide

CHAIN = [(0, 1), (1, 2)]


@dataclasses.dataclass
class Again:
    """What came of asking for a rerun."""

    outcome: str
    pipeline: str
    state: str | None
    changes: Changes
    db: Database

    def jobs(self) -> dict[str, tuple[str, str | None]]:
        """Name -> (state, reason)."""
        rows = self.db.rows(
            "SELECT name, state, reason FROM jobs WHERE pipeline_id = %s::uuid", (self.pipeline,)
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def row(self, number: int) -> dict[str, Any]:
        """A job as the gateway sees it."""
        job_id = self.db.one(
            "SELECT id::text FROM jobs WHERE pipeline_id = %s::uuid AND name = %s",
            (self.pipeline, f"job {number}"),
        )
        found = queries.job(self.db, "default", job_id)
        assert found is not None
        return found

    def run(self, number: int, *, success: bool = True) -> None:
        """Claim and finish a job."""
        job_id, token = self.row(number)["job_id"], uuid4()
        claim = {"job_id": job_id, "token": token, "session_id": uuid4(), "n": 1}
        assert jobs.claim(self.db, self.changes, [claim], lease_seconds=15, actor=ACTOR).won == [job_id]
        report = {
            "job_id": job_id, "token": token, "success": success, "ran": True,
            "exit_code": 0 if success else 1, "reason": None if success else "exit-code",
            "duration_ms": 5, "last_seq": 0, "jitter": 0.0,
        }  # fmt: skip
        assert jobs.finish(self.db, self.changes, [report], policy=POLICY, actor=ACTOR) == {job_id}

    def pipeline_row(self) -> dict[str, Any]:
        """The pipeline as the gateway sees it."""
        found = queries.pipeline(self.db, "default", self.pipeline)
        assert found is not None
        return found


def rerun(
    db: Database, source: str, *, failed: bool = False, from_job: str | None = None, key: str = "",
    digest: str = "00", tenant: str = "default",
) -> Again:  # fmt: skip
    changes = Changes()
    wanted = Rerun(
        tenant=tenant, key=key or uuid4(), digest=digest, source=source,
        pipeline_id=uuid7(SystemClock().now()), only_failed=failed, from_job=from_job,
    )  # fmt: skip
    made = requests.rerun(db, changes, wanted, actor=ACTOR)
    return Again(made["outcome"], made.get("pipeline_id") or "", made.get("state"), changes, db)


def skip(world: World, reason: str = "dependency-failed") -> None:
    waiting = [
        {"job_id": one["job_id"], "becomes": "SKIPPED", "reason": reason} for one in world.changes.undecided
    ]
    world.changes.undecided.clear()
    jobs.resolve(world.db, world.changes, waiting, actor=ACTOR)


@pytest.fixture
def failed(db: Database) -> World:
    """0 is well, 1 FAILED, 2 after it was SKIPPED, 3 is well and nobody's need."""
    world = World(db, [{"retry_max": 1, "labels": ["gpu"], "lane": "high"}, {}, {}, {}], CHAIN)
    world.run(0, 3)
    world.run(1, success=False)
    skip(world)
    assert (world.states(), world.state()) == (["SUCCESS", "FAILED", "SKIPPED", "SUCCESS"], "FAILED")
    return world


def history(db: Database, pipeline: str) -> list[Any]:
    return db.rows(
        "SELECT to_json(j)::text FROM jobs AS j WHERE pipeline_id = %s::uuid UNION ALL"
        " SELECT to_json(t)::text FROM job_transitions AS t WHERE pipeline_id = %s::uuid UNION ALL"
        " SELECT to_json(p)::text FROM pipelines AS p WHERE id = %s::uuid ORDER BY 1",
        (pipeline, pipeline, pipeline),
    )


def test_failed_jobs_and_what_comes_after_run_again(db: Database, failed: World) -> None:
    before = history(db, failed.pipeline)
    again = rerun(db, failed.pipeline, failed=True)
    assert (again.outcome, again.state) == ("new", "PENDING")
    assert again.jobs() == {
        "job 0": ("SUCCESS", "reused"),
        "job 1": ("QUEUED", None),
        "job 2": ("PENDING", None),
        "job 3": ("SUCCESS", "reused"),
    }
    shown = again.pipeline_row()
    assert shown["rerun_of"] == failed.pipeline
    assert shown["counts"] == {"PENDING": 1, "QUEUED": 1, "SUCCESS": 2}
    assert [ready["job_id"] for ready in again.changes.ready] == [again.row(1)["job_id"]]
    again.run(1)
    assert again.jobs()["job 2"] == ("QUEUED", None)
    again.run(2)
    assert again.pipeline_row()["state"] == "SUCCESS"
    assert history(db, failed.pipeline) == before, "what is terminal never changes"


def test_a_reused_job_has_the_end_attempts_and_log_of_its_source(db: Database, failed: World) -> None:
    workers.renew(
        db,
        [{"session_id": failed.session, "n": 1, "kind": "runner", "name": "vm/runner-0", "pool": "default",
          "state": "IDLE", "slots": 1, "capacity": None, "labels": [], "attempts": 0}],
        [], ttl_seconds=10,
    )  # fmt: skip
    again = rerun(db, failed.pipeline, from_job=failed.jobs[3])
    kept = again.row(1)
    assert (kept["state"], kept["reason"], kept["exit_code"]) == ("FAILED", "reused", 1)
    assert (kept["attempt"], kept["tries"], kept["version"], kept["worker"]) == (0, 0, 1, None)
    assert kept["source_job_id"] == failed.jobs[1]
    (attempt,) = kept["attempts"]
    assert (attempt["state"], attempt["reason"], attempt["exit_code"]) == ("FAILED", "exit-code", 1)
    assert (attempt["worker"], attempt["worker_name"]) == (failed.session, "vm/runner-0")
    assert queries.attempts(db, "default", kept["job_id"]) == [attempt]
    log = queries.log_job(db, "default", kept["job_id"])
    assert log is not None
    assert (log["job_id"], log["attempt"], log["state"]) == (failed.jobs[1], 1, "FAILED")
    assert again.row(3)["source_job_id"] is None
    again.run(3)
    assert again.pipeline_row()["state"] == "FAILED", "a failure that was taken over is one"


def test_all_of_it_runs_again_with_all_that_was_frozen(db: Database, failed: World) -> None:
    again = rerun(db, failed.pipeline)
    assert again.jobs() == {
        "job 0": ("QUEUED", None),
        "job 1": ("PENDING", None),
        "job 2": ("PENDING", None),
        "job 3": ("QUEUED", None),
    }
    first, new = queries.graph(db, "default", failed.pipeline), queries.graph(db, "default", again.pipeline)
    assert first is not None
    assert new is not None
    for old, job in zip(first.jobs, new.jobs, strict=True):
        frozen = ("name", "stage", "pool", "lane", "labels", "executor", "continue_on_error", "if")
        assert {name: job[name] for name in frozen} == {name: old[name] for name in frozen}
        assert is_uuid(job["job_id"])
    names = {job["job_id"]: job["name"] for job in (*first.jobs, *new.jobs)}
    edges = {(names[parent], names[child]) for parent, child in new.edges}
    assert edges == {(names[parent], names[child]) for parent, child in first.edges}
    same = (
        "SELECT json_build_array(definition, sha256, inputs, env)::text FROM pipeline_definitions"
        " WHERE pipeline_id = %s"
    )
    assert db.one(same, (again.pipeline,)) == db.one(same, (failed.pipeline,))
    spec = "SELECT json_agg(spec ORDER BY spec::text)::text FROM job_specs WHERE pipeline_id = %s"
    assert db.one(spec, (again.pipeline,)) == db.one(spec, (failed.pipeline,))
    assert db.one("SELECT retry_max FROM jobs WHERE id = %s", (again.row(0)["job_id"],)) == 1


def test_the_events_are_exactly_the_history_and_fit_their_schemas(db: Database, failed: World) -> None:
    again = rerun(db, failed.pipeline, failed=True)
    assert db.rows("SELECT id::text FROM outbox WHERE id = %s::uuid", (again.changes.outbox_ids[0],))
    told = sorted(
        (one["job_id"], one["version"], one["previous"], one["state"]) for one in again.changes.jobs
    )
    kept = db.rows(
        "SELECT job_id::text, version, previous, state FROM job_transitions"
        " WHERE pipeline_id = %s::uuid ORDER BY 1",
        (again.pipeline,),
    )
    assert told == kept
    (pipeline,) = again.changes.pipelines
    assert (pipeline["version"], pipeline["rerun_of"]) == (1, failed.pipeline)
    publish.records(again.changes, ACTOR)
    for one in again.changes.jobs:
        job_events.status.decode(encode(one))
    assert pipeline_events.status.decode(encode(pipeline)).rerun_of == failed.pipeline


def test_a_rerun_of_a_rerun_points_at_the_first_source(db: Database, failed: World) -> None:
    second = rerun(db, failed.pipeline, failed=True)
    second.run(1)
    second.run(2, success=False)
    third = rerun(db, second.pipeline, failed=True)
    assert third.pipeline_row()["rerun_of"] == second.pipeline
    assert third.jobs()["job 2"] == ("QUEUED", None)
    assert third.row(0)["source_job_id"] == failed.jobs[0]
    assert third.row(1)["source_job_id"] == second.row(1)["job_id"]
    third.run(2)
    assert third.pipeline_row()["state"] == "SUCCESS"


def test_an_equal_repeat_is_the_same_rerun_and_another_wish_a_conflict(db: Database, failed: World) -> None:
    key = uuid4()
    first = rerun(db, failed.pipeline, failed=True, key=key)
    repeat = rerun(db, failed.pipeline, failed=True, key=key)
    assert (repeat.outcome, repeat.pipeline, repeat.state) == ("repeat", first.pipeline, "PENDING")
    assert not repeat.changes
    other = rerun(db, failed.pipeline, key=key, digest="01")
    assert (other.outcome, other.pipeline) == ("conflict", first.pipeline)
    assert rerun(db, failed.pipeline, key=failed.key, digest="02").outcome == "conflict"
    assert db.one("SELECT count(*) FROM pipelines WHERE rerun_of = %s::uuid", (failed.pipeline,)) == 1


def test_at_the_same_time_one_of_two_wins(db: Database, failed: World, postgres_dsn: str) -> None:
    key, outcomes, barrier = uuid4(), list[str](), threading.Barrier(2)

    def ask() -> None:
        own = Database(postgres_dsn, "test")
        own.answers()
        barrier.wait()
        outcomes.append(rerun(own, failed.pipeline, key=key).outcome)
        own.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["new", "repeat"]


def test_who_is_refused(db: Database, failed: World) -> None:
    going = World(db, [{}])
    other = World(db, [{}])
    other.run(0)
    assert (rerun(db, going.pipeline).outcome, rerun(db, going.pipeline).state) == ("not-terminal", "PENDING")
    assert rerun(db, uuid4()).outcome == "absent"
    assert rerun(db, failed.pipeline, tenant="rival").outcome == "absent"
    assert rerun(db, other.pipeline, failed=True).outcome == "nothing"
    assert rerun(db, other.pipeline, from_job=failed.jobs[0]).outcome == "no-such-job"
    waiting = uuid7(SystemClock().now())
    requests.receive(
        db, tenant="default", key=uuid4(), digest="00", pipeline_id=waiting, body="{}", publish_seconds=60
    )
    assert (rerun(db, waiting).outcome, rerun(db, waiting).state) == ("not-terminal", "RECEIVED")
    refused = uuid7(SystemClock().now())
    rejection = {
        "id": refused, "tenant": "default", "key": uuid4(), "hash": "00", "name": "", "reason": "invalid",
        "errors": [], "trigger": None, "git": None, "conflict": False,
    }  # fmt: skip
    requests.reject(db, Changes(), [rejection], actor=ACTOR)
    assert (rerun(db, refused).outcome, rerun(db, refused).state) == ("nothing", "REJECTED")


def test_cancelled_jobs_count_as_failed_ones(db: Database) -> None:
    world = World(db, [{}] * 3, CHAIN)
    world.run(0)
    jobs.cancel(db, Changes(), tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR)
    assert world.state() == "CANCELLED"
    again = rerun(db, world.pipeline, failed=True)
    assert [state for state, _ in again.jobs().values()].count("SUCCESS") == 1
    again.run(1)
    again.run(2)
    assert again.pipeline_row()["state"] == "SUCCESS"


def test_a_need_that_was_taken_over_lets_through_or_not_as_it_did(db: Database) -> None:
    specs = [{"continue_on_error": True}, {}, {}, {"condition": "always"}, {"condition": "failure"}]
    world = World(db, specs, [(0, 2), (1, 3), (1, 4)])
    world.run(0, success=False)
    world.run(1, success=False)
    world.run(2)
    decide = [{"job_id": world.jobs[n], "becomes": "QUEUED", "reason": None} for n in (3, 4)]
    jobs.resolve(db, world.changes, decide, actor=ACTOR)
    world.run(3, 4)
    assert rerun(db, world.pipeline, from_job=world.jobs[2]).jobs()["job 2"] == ("QUEUED", None)
    for number in (3, 4):
        again = rerun(db, world.pipeline, from_job=world.jobs[number])
        assert again.jobs()[f"job {number}"] == ("PENDING", None)
        (waiting,) = again.changes.undecided
        assert waiting["pipeline_id"] == again.pipeline
        (facts,) = jobs.undecided(db, [waiting["job_id"]])
        assert (facts["failed"], facts["cancelled"], facts["skipped"]) == (1, 0, 0)
        swept = Changes()
        jobs.lost(db, swept, older_than=0)
        assert waiting in swept.undecided, "whoever loses the hint, the sweep finds it"


def test_why_a_need_was_skipped_is_known_after_it_was_taken_over(db: Database) -> None:
    for why, failures, skips in (("dependency-failed", 1, 0), ("condition-false", 0, 1)):
        world = World(db, [{}, {"condition": "failure"}, {"condition": "always"}], CHAIN)
        world.run(0)
        skip(world, why)
        jobs.resolve(
            db, Changes(), [{"job_id": world.jobs[2], "becomes": "QUEUED", "reason": None}], actor=ACTOR
        )
        world.run(2)
        again = rerun(db, world.pipeline, from_job=world.jobs[2])
        assert again.jobs()["job 1"] == ("SKIPPED", "reused")
        (facts,) = jobs.undecided(db, [again.row(2)["job_id"]])
        assert (facts["failed"], facts["skipped"]) == (failures, skips)


def test_a_root_that_waits_for_a_failure_is_not_run_by_a_rerun_either(db: Database) -> None:
    world = World(db, [{}, {"condition": "failure"}])
    world.run(0)
    skip(world, "condition-false")
    again = rerun(db, world.pipeline)
    assert [state for state, _ in again.jobs().values()] == ["QUEUED", "PENDING"]
    assert len(again.changes.undecided) == 1, "the pure decide skips it"


def decide_all(db: Database, changes: Changes) -> None:
    """What the advancer does with undecided jobs."""
    facts = jobs.undecided(db, [one["job_id"] for one in changes.undecided])
    changes.undecided.clear()
    decisions = [decide(msgspec.convert(fact, Facts)) for fact in facts]
    jobs.resolve(db, changes, [msgspec.structs.asdict(one) for one in decisions], actor=ACTOR)


def test_a_root_that_always_runs_runs_again_when_it_failed_and_is_reused_when_not(db: Database) -> None:
    """2 waits for the root 0, 3 runs always after both roots."""
    always = {"condition": "always"}
    world = World(db, [always, always, {}, always], [(0, 2), (0, 3), (1, 3)])
    born = world.states()
    assert born == ["QUEUED", "QUEUED", "PENDING", "PENDING"]
    world.run(0, success=False)
    world.run(1)
    decide_all(db, world.changes)
    world.run(3)
    assert (world.states(), world.state()) == (["FAILED", "SUCCESS", "SKIPPED", "SUCCESS"], "FAILED")

    again = rerun(db, world.pipeline, failed=True)
    decide_all(db, again.changes)
    assert again.jobs() == {
        "job 0": ("QUEUED", None),
        "job 1": ("SUCCESS", "reused"),
        "job 2": ("PENDING", None),
        "job 3": ("PENDING", None),
    }
    again.run(0)
    decide_all(db, again.changes)
    again.run(2)
    again.run(3)
    assert again.pipeline_row()["state"] == "SUCCESS"

    whole = rerun(db, world.pipeline)
    decide_all(db, whole.changes)
    assert [whole.jobs()[f"job {number}"][0] for number in range(4)] == born


def test_a_job_that_was_taken_over_cannot_be_cancelled(db: Database, failed: World) -> None:
    again = rerun(db, failed.pipeline, failed=True)
    reused = again.row(0)["job_id"]
    kept = requests.request_cancel(
        db, cancel_id=uuid7(SystemClock().now()), tenant="default", pipeline_id=None, job_id=reused,
        reason="", requested_by="",
    )  # fmt: skip
    assert (kept["outcome"], kept["state"]) == ("terminal", "SUCCESS")
    outcome = jobs.cancel(
        db, Changes(), tenant="default", pipeline_id=again.pipeline, job_id=reused, actor=ACTOR
    )
    assert outcome == "terminal"
    jobs.cancel(db, Changes(), tenant="default", pipeline_id=again.pipeline, job_id=None, actor=ACTOR)
    assert again.jobs()["job 0"] == ("SUCCESS", "reused")
    assert again.pipeline_row()["state"] == "CANCELLED"


def test_names_of_workers_outlive_their_rows(db: Database, failed: World) -> None:
    db.rows(
        "INSERT INTO workers (session_id, kind, name, state, registered_at, seen_at)"
        " VALUES (%s::uuid, 'runner', 'gone', 'IDLE', clock_v1(), clock_v1() - interval '2 days')",
        (failed.session,),
    )
    workers.mark_silent(db, ttl_seconds=10)
    assert db.rows("SELECT 1 FROM workers WHERE session_id = %s::uuid", (failed.session,)) == []
    found = queries.attempts(db, "default", failed.jobs[0])
    assert found is not None
    assert [attempt["worker_name"] for attempt in found] == ["gone"]


def test_a_large_pipeline_is_one_short_transaction(db: Database) -> None:
    """Every job is looked up a few times, whatever the planner knows of fresh tables: no quadratic work."""
    count = 3_000
    world = World(
        db, [{}] * count, [(n, n + width) for n in range(0, count - 10, 10) for width in range(1, 10)]
    )
    jobs.cancel(db, Changes(), tenant="default", pipeline_id=world.pipeline, job_id=None, actor=ACTOR)
    again = rerun(db, world.pipeline, failed=True)
    assert again.outcome == "new"
    assert len(again.jobs()) == count
