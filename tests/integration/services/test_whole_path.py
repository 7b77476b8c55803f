"""Events alone, and sweeps alone, each carry every pipeline to its end (no decoration, no crutch)."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from tests.town import Town

from penstock.core.ids import uuid7
from penstock.core.states import JOB_TRANSITIONS
from penstock.events import topics
from penstock.kafka.records import Outgoing
from penstock.store.database import Database

HINTS = [*(topic.name for topic in topics.JOBS_READY.values()), topics.WORKERS_OFFERS.name]
BRANCHES: dict[str, Any] = {
    "name": "branches",
    "jobs": {
        "first": {"executor": "noop"},
        "fails": {"executor": "noop", "needs": ["first"]},
        "tolerated": {"executor": "noop", "needs": ["first"], "continue-on-error": True},
        "fail-tolerated": {"executor": "noop", "needs": ["first"], "continue-on-error": True},
        "skipped": {"executor": "noop", "needs": ["fails"]},
        "skipped-too": {"executor": "noop", "needs": ["skipped"]},
        "on-failure": {"executor": "noop", "needs": ["skipped"], "if": "failure()"},
        "always": {"executor": "noop", "needs": ["skipped-too", "tolerated"], "if": "always()"},
        "goes-on": {"executor": "noop", "needs": ["fail-tolerated", "tolerated"]},
    },
}
ENDS = {
    "": "FAILED",
    "first": "SUCCESS",
    "fails": "FAILED",
    "tolerated": "SUCCESS",
    "fail-tolerated": "FAILED",
    "skipped": "SKIPPED",
    "skipped-too": "SKIPPED",
    "on-failure": "SUCCESS",
    "always": "SUCCESS",
    "goes-on": "SUCCESS",
}


def random_dag(rng: random.Random, size: int) -> dict[str, Any]:
    jobs: dict[str, Any] = {}
    for n in range(size):
        needs = rng.sample(list(jobs), min(len(jobs), rng.choice([0, 1, 1, 2, 3])))
        jobs[f"j{n}"] = {"executor": "noop", "needs": needs}
    return {"name": "random", "jobs": jobs}


@pytest.mark.parametrize(
    ("lost", "sweeps"),
    [([], True), ([], False), (HINTS, True)],
    ids=["everything", "events alone", "sweeps alone"],
)
def test_every_pipeline_comes_to_its_end(
    db: Database, postgres_dsn: str, lost: list[str], sweeps: bool
) -> None:
    town = Town(db, postgres_dsn, lost=lost, sweeps=sweeps)
    branches = town.submit(BRANCHES)
    rng = random.Random(7)
    dags = [town.submit(random_dag(rng, size)) for size in (1, 5, 30, 120)]
    town.runner.heartbeat()
    town.runner.offer()
    town.run()
    assert town.states(branches) == ENDS
    for key in dags:
        assert set(town.states(key).values()) == {"SUCCESS"}
    ran = sum(state in ("SUCCESS", "FAILED") for name, state in ENDS.items() if name)
    assert len(town.runner.starts) == 1 + 5 + 30 + 120 + ran


def test_jobs_start_in_dependency_order_as_the_status_topic_tells(db: Database, postgres_dsn: str) -> None:
    town = Town(db, postgres_dsn)
    definition = random_dag(random.Random(3), 80)
    key = town.submit(definition)
    town.run()
    mine = db.one("SELECT id::text FROM pipelines WHERE request_id = %s", (key,))
    at: dict[tuple[str, str], str] = {}
    for record in town.bus.records(topics.JOBS_STATUS.name):
        event = orjson.loads(record.value or b"")
        if event["pipeline_id"] != mine:
            continue  # of another test of this module, brought by the relay
        assert event["state"] in JOB_TRANSITIONS[event["previous"]]
        at[event["name"], event["state"]] = event["at"]
    for name, job in definition["jobs"].items():
        for need in job["needs"]:
            assert at[need, "SUCCESS"] <= at[name, "QUEUED"] < at[name, "ASSIGNED"]


def test_a_retried_job_runs_again(db: Database, postgres_dsn: str) -> None:
    tries: list[str] = []

    def outcome(name: str) -> bool:
        tries.append(name)
        return tries.count(name) > 1

    town = Town(db, postgres_dsn, outcome=outcome)
    key = town.submit({"jobs": {"flaky": {"executor": "noop", "retry": {"max": 1}}}})
    town.run()
    assert town.states(key) == {"": "SUCCESS", "flaky": "SUCCESS"}
    assert tries.count("flaky") == 2


def test_a_cancel_before_its_request_is_not_lost(db: Database, postgres_dsn: str) -> None:
    town = Town(db, postgres_dsn)
    mine = uuid7(town.clock.now())
    wish = orjson.dumps({"tenant": "default", "pipeline_id": mine})
    town.bus.sender().send([Outgoing(topics.CANCEL_REQUESTED.name, mine, wish, [])])
    town.run()
    request = {"tenant": "default", "request_id": mine, "pipeline_id": mine, "definition": BRANCHES}
    town.bus.sender().send([Outgoing(topics.PIPELINES_REQUESTED.name, "default", orjson.dumps(request), [])])
    town.run()
    assert set(town.states(mine).values()) == {"CANCELLED"}
    assert not set(town.runner.starts) & set(BRANCHES["jobs"])


def test_a_silent_runner_s_job_is_given_to_another(db: Database, postgres_dsn: str) -> None:
    town = Town(db, postgres_dsn)
    key = town.submit({"jobs": {"job": {"executor": "noop"}}})
    dead = town.runner
    dead.turn = lambda: False  # type: ignore[method-assign]
    for _ in range(3):
        town.turn()
    assert town.states(key)["job"] == "ASSIGNED"
    dead.heartbeat = lambda: None  # type: ignore[method-assign]
    for _ in range(3):
        town.turn()
    db.rows("UPDATE leases SET expires_at = clock_v1() - interval '1 s'")
    for _ in range(6):
        town.turn()
    assert town.states(key)["job"] == "QUEUED"
    another = Town(db, postgres_dsn)
    another.run()
    assert another.runner.starts == ["job"]
    assert town.states(key)["job"] == "SUCCESS"
