"""The dispatcher on a real Postgres: jobs that cannot be claimed, and those that are claimed beside them."""

from __future__ import annotations

import time

import orjson

from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.events.codec import encode
from penstock.events.workers import Offer
from penstock.kafka.memory import MemoryBus
from penstock.kafka.records import Record
from penstock.runtime.metrics import Metrics
from penstock.runtime.settings import KafkaSettings, PostgresSettings, ProcessSettings, TimingSettings
from penstock.store.database import Database
from penstock.testing.clock import ManualClock
from penstock.testing.graphs import World
from penstock_services.dispatcher.handle import Dispatcher
from penstock_services.dispatcher.settings import DispatcherSettings

INT_MAX = 2**31 - 1


class Rig:
    """A dispatcher of all pools, a bus in memory, one runner with eight slots."""

    def __init__(self, db: Database) -> None:
        self.clock = ManualClock(time.time())
        self.bus = MemoryBus(1, self.clock)
        settings = DispatcherSettings(
            process=ProcessSettings(),
            kafka=KafkaSettings(kafka_bootstrap="memory", kafka_partitions=1),
            postgres=PostgresSettings(postgres_dsn=""),
            timing=TimingSettings(),
        )
        self.dispatcher = Dispatcher(
            db, self.bus.sender(), settings, actor="dispatcher-0", clock=self.clock, metrics=Metrics()
        )
        self.dispatcher.own({(topics.WORKERS_OFFERS.name, 0)})
        offer = Offer(session_id=uuid4(), n=1, pool="default", slots=8, executors=["noop"])
        self.take(topics.WORKERS_OFFERS.name, encode(offer))

    def take(self, topic: str, value: bytes) -> None:
        now = int(self.clock.now() * 1000)
        self.dispatcher.take([Record(topic, 0, 0, None, value, None, now)])


def test_a_job_that_cannot_be_claimed_ends_and_its_neighbours_do_not(db: Database) -> None:
    world = World(db, [{} for _ in range(5)], [(2, 4)])
    # The next attempt's number is no int4: Postgres refuses the claim with 22003.
    db.rows("UPDATE jobs SET attempt = %s WHERE id = %s::uuid", (INT_MAX, world.jobs[2]))
    rig = Rig(db)
    rig.dispatcher.sweep(took_over=False)
    assert rig.dispatcher.grant() == 3
    assert world.states() == ["ASSIGNED", "ASSIGNED", "FAILED", "ASSIGNED", "PENDING"]
    assert world.history(2)[-1] == (2, "QUEUED", "FAILED", "infra-error")
    assert db.one("SELECT count(*) FROM ready WHERE job_id = ANY(%s::uuid[])", (world.jobs,)) == 0
    assert db.one("SELECT count(*) FROM leases WHERE job_id = %s::uuid", (world.jobs[2],)) == 0
    told = [orjson.loads(one.value or b"") for one in rig.bus.records(topics.JOBS_STATUS.name)]
    assert [one["job_id"] for one in told if one["terminal"]] == [world.jobs[2]]
    granted = [orjson.loads(one.value or b"") for one in rig.bus.records(topics.WORKERS_GRANTS.name)]
    assert {grant["job_id"] for one in granted for grant in one["grants"]} == {
        world.jobs[0], world.jobs[1], world.jobs[3],
    }  # fmt: skip
    asked = [orjson.loads(one.value or b"") for one in rig.bus.records(topics.JOBS_REPORTS.name)]
    assert [one["undecided"] for one in asked] == [[world.jobs[4]]], "its child waits for a decision"
    rig.dispatcher.sweep(took_over=False)
    assert rig.dispatcher.grant() == 0, "it does not come back"


def test_the_last_job_of_a_pipeline_that_cannot_be_claimed_ends_the_pipeline(db: Database) -> None:
    world = World(db, [{}])
    db.rows("UPDATE jobs SET attempt = %s WHERE id = %s::uuid", (INT_MAX, world.jobs[0]))
    rig = Rig(db)
    rig.dispatcher.sweep(took_over=False)
    assert rig.dispatcher.grant() == 0
    assert world.state() == "FAILED"
    (status,) = [orjson.loads(one.value or b"") for one in rig.bus.records(topics.PIPELINES_STATUS.name)]
    assert (status["pipeline_id"], status["state"]) == (world.pipeline, "FAILED")


def test_a_hint_of_no_job_holds_nobody_up(db: Database) -> None:
    world = World(db, [{}])
    rig = Rig(db)
    rig.dispatcher.sweep(took_over=False)
    hint = {
        "job_id": "no id at all", "pipeline_id": "p", "tenant": "default", "pool": "default",
        "lane": "normal", "executor": "noop", "labels": [], "queued_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    rig.take(topics.JOBS_READY["normal"].name, orjson.dumps({"jobs": [hint]}))
    assert rig.dispatcher.grant() == 1
    assert world.states() == ["ASSIGNED"]
