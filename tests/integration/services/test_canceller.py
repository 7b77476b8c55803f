"""The canceller on a real Postgres: cancels that name nothing do not end without a trace."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from penstock.core.ids import uuid7
from penstock.events import topics
from penstock.kafka.batches import Outcome
from penstock.kafka.records import Record
from penstock.store import requests
from penstock.store.database import Database
from penstock.testing.graphs import World
from penstock_services.canceller.handle import Canceller

NOW = time.time()


def step(db: Database, *wishes: dict[str, Any]) -> Outcome:
    batch = [
        Record(topics.CANCEL_REQUESTED.name, 0, n, b"", orjson.dumps({"tenant": "default", **wish}), None, 0)
        for n, wish in enumerate(wishes)
    ]
    return Canceller(db, actor="canceller-0", sweep_seconds=0).step(batch, NOW)


@pytest.mark.parametrize("known", [True, False], ids=["its pipeline is known", "its pipeline is not"])
def test_a_job_that_is_not_in_its_pipeline_is_a_dead_letter(db: Database, known: bool) -> None:
    world, other = World(db, [{}]), World(db, [{}])
    pipeline = world.pipeline if known else uuid7(NOW)
    bogus = {"pipeline_id": pipeline, "job_id": other.jobs[0]}
    outcome = step(db, bogus, {"pipeline_id": other.pipeline})
    (dead,) = outcome.dead
    assert dead.reason.endswith(f"pipeline {pipeline} of tenant default has no job {other.jobs[0]}")
    assert world.states() == ["QUEUED"]
    assert other.states() == ["CANCELLED"], "the others go on"
    assert requests.cancels_of(db, "default", pipeline) == []


def test_another_tenant_s_job_is_not_told_apart(db: Database) -> None:
    world = World(db, [{}])
    wish = {"tenant": "other", "pipeline_id": world.pipeline, "job_id": world.jobs[0]}
    (dead,) = step(db, wish).dead
    assert "has no job" in dead.reason
    assert world.states() == ["QUEUED"]


def test_one_job_is_cancelled_and_a_repeat_changes_nothing(db: Database) -> None:
    world = World(db, [{}, {}])
    wish = {"pipeline_id": world.pipeline, "job_id": world.jobs[0]}
    assert not step(db, wish, wish).dead
    assert world.states() == ["CANCELLED", "QUEUED"]
