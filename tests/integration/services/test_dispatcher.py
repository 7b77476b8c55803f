"""The dispatcher on a real Postgres: jobs that cannot be claimed, and those that are claimed beside them."""

from __future__ import annotations

import collections
import time
from typing import Any

import orjson
import pytest

from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.events.codec import encode
from penstock.events.workers import Capacity, Heartbeat, Held, Offer
from penstock.kafka.memory import MemoryBus
from penstock.kafka.records import Record
from penstock.runtime.metrics import Metrics
from penstock.runtime.settings import KafkaSettings, PostgresSettings, ProcessSettings, TimingSettings
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.testing.clock import ManualClock
from penstock.testing.graphs import World
from penstock_services.dispatcher.handle import Dispatcher
from penstock_services.dispatcher.settings import DispatcherSettings

INT_MAX = 2**31 - 1


@pytest.fixture(autouse=True)
def no_other_queue(db: Database) -> None:
    """What other tests left QUEUED is no part of this one's queue."""
    db.rows("DELETE FROM ready")


class Rig:
    """A dispatcher of all pools, a bus in memory, one runner with eight slots (unless `silent`)."""

    def __init__(self, db: Database, *, silent: bool = False) -> None:
        self.clock = ManualClock(time.time())
        self.bus = MemoryBus(1, self.clock)
        settings = DispatcherSettings(
            process=ProcessSettings(),
            kafka=KafkaSettings(kafka_bootstrap="memory", kafka_partitions=1),
            postgres=PostgresSettings(postgres_dsn=""),
            timing=TimingSettings(),
        )
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(
            db, self.bus.sender(), settings, actor="dispatcher-0", clock=self.clock, metrics=self.metrics
        )
        self.dispatcher.own({(topics.WORKERS_OFFERS.name, 0)})
        if not silent:
            offer = Offer(session_id=uuid4(), n=1, pool="default", slots=8, executors=["noop"])
            self.take(topics.WORKERS_OFFERS.name, encode(offer))

    def sweep(self) -> None:
        """A whole one."""
        collections.deque(self.dispatcher.sweep(), maxlen=0)

    def take(self, topic: str, value: bytes, age: float = 0.0) -> None:
        """A record that was written so many seconds ago."""
        at = int((self.clock.now() - age) * 1000)
        self.dispatcher.take([Record(topic, 0, 0, None, value, None, at)])


ODD = [
    pytest.param({"session_id": "runner-of-mine"}, id="no id"),
    pytest.param({"session_id": uuid4().upper()}, id="another spelling"),
    pytest.param({"session_id": f"{uuid4()},{uuid4()}"}, id="two ids"),
    pytest.param({"n": 2**63}, id="a number beyond bigint"),
    pytest.param({"slots": -1}, id="fewer slots than none"),
]


@pytest.mark.parametrize("odd", ODD)
def test_a_session_that_is_none_costs_no_job(db: Database, odd: dict[str, Any]) -> None:
    world = World(db, [{} for _ in range(3)])
    rig = Rig(db, silent=True)
    offer = {"session_id": uuid4(), "n": 1, "pool": "default", "slots": 100, "executors": ["noop"], **odd}
    rig.take(topics.WORKERS_OFFERS.name, orjson.dumps(offer))
    rig.take(topics.WORKERS_HEARTBEATS.name, orjson.dumps({**offer, "name": "odd"}))
    rig.sweep()
    assert rig.dispatcher.grant() == 0
    assert world.states() == ["QUEUED"] * 3


def test_a_hint_that_is_none_costs_no_job(db: Database) -> None:
    world = World(db, [{} for _ in range(3)])
    rig = Rig(db)
    row = jobs.ready_rows(db, [world.jobs[0]])[0]
    for job_id in (",".join(world.jobs), "01AFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF", world.jobs[1].upper()):
        rig.take(topics.JOBS_READY["normal"].name, orjson.dumps({"jobs": [{**row, "job_id": job_id}]}))
    assert rig.dispatcher.grant() == 0
    rig.sweep()
    assert rig.dispatcher.grant() == 3
    assert world.states() == ["ASSIGNED"] * 3


def test_one_job_a_sweep_ends_for_its_claim(db: Database) -> None:
    """Should the fault be ours after all, it must not run through the queue."""
    world = World(db, [{} for _ in range(3)])
    db.rows("UPDATE jobs SET attempt = %s WHERE pipeline_id = %s::uuid", (INT_MAX, world.pipeline))
    rig = Rig(db)
    for failed in (1, 2, 3):
        rig.sweep()
        assert rig.dispatcher.grant() == 0
        assert sorted(world.states()) == ["FAILED"] * failed + ["QUEUED"] * (3 - failed)


def test_a_job_that_cannot_be_claimed_ends_and_its_neighbours_do_not(db: Database) -> None:
    world = World(db, [{} for _ in range(5)], [(2, 4)])
    # The next attempt's number is no int4: Postgres refuses the claim with 22003.
    db.rows("UPDATE jobs SET attempt = %s WHERE id = %s::uuid", (INT_MAX, world.jobs[2]))
    rig = Rig(db)
    rig.sweep()
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
    rig.sweep()
    assert rig.dispatcher.grant() == 0, "it does not come back"


def test_the_last_job_of_a_pipeline_that_cannot_be_claimed_ends_the_pipeline(db: Database) -> None:
    world = World(db, [{}])
    db.rows("UPDATE jobs SET attempt = %s WHERE id = %s::uuid", (INT_MAX, world.jobs[0]))
    rig = Rig(db)
    rig.sweep()
    assert rig.dispatcher.grant() == 0
    assert world.state() == "FAILED"
    (status,) = [orjson.loads(one.value or b"") for one in rig.bus.records(topics.PIPELINES_STATUS.name)]
    assert (status["pipeline_id"], status["state"]) == (world.pipeline, "FAILED")


@pytest.mark.parametrize("topic", [topics.WORKERS_HEARTBEATS.name, topics.WORKERS_OFFERS.name])
def test_what_was_heard_before_the_start_is_as_old_as_it_is(db: Database, topic: str) -> None:
    world = World(db, [{} for _ in range(3)])
    rig = Rig(db, silent=True)
    rig.sweep()
    session = uuid4()  # Nobody's before: a lease of his would be found, too.

    def news(n: int) -> bytes:
        """Of a runner with one slot more than the last time."""
        if topic == topics.WORKERS_OFFERS.name:
            return encode(Offer(session_id=session, n=n, pool="default", slots=n, executors=["noop"]))
        beat = Heartbeat(session_id=session, n=n, name="r", pool="default", slots=n, executors=["noop"])
        return encode(beat)

    rig.take(topic, news(1), age=12.0)
    assert rig.dispatcher.grant() == 0, "it has been silent since"
    rig.take(topic, news(1), age=5.0)
    assert rig.dispatcher.grant() == 1
    rig.take(topic, news(2), age=7.0)
    rig.clock.advance(2.4)
    assert rig.dispatcher.grant() == 1, "an older record that is read later makes it no older"
    rig.clock.advance(0.2)
    rig.take(topic, news(3), age=60.0)
    assert rig.dispatcher.grant() == 0
    # Written after the start, by a broker whose clock is behind: read is heard.
    rig.clock.advance(60.0)
    rig.take(topic, news(3), age=30.0)
    assert rig.dispatcher.grant() == 1
    assert world.states() == ["ASSIGNED"] * 3


def test_a_hint_of_no_job_holds_nobody_up(db: Database) -> None:
    world = World(db, [{}])
    rig = Rig(db)
    rig.sweep()
    hint = {
        "job_id": "no id at all", "pipeline_id": "p", "tenant": "default", "pool": "default",
        "lane": "normal", "executor": "noop", "labels": [], "queued_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    rig.take(topics.JOBS_READY["normal"].name, orjson.dumps({"jobs": [hint]}))
    assert rig.dispatcher.grant() == 1
    assert world.states() == ["ASSIGNED"]


def test_why_jobs_wait_is_told_once_and_counted(db: Database) -> None:
    world = World(db, [{"labels": ["tpu"]}, {"labels": ["tpu"]}, {"pool": "nowhere"}])
    rig = Rig(db)

    def told() -> list[tuple[str, str | None]]:
        records = [orjson.loads(one.value or b"") for one in rig.bus.records(topics.JOBS_WAITING.name)]
        return sorted((one["job_id"], one["reason"]) for one in records)

    rig.clock.advance(5.0)
    rig.sweep()
    expected = sorted([(world.jobs[0], "no-fit"), (world.jobs[1], "no-fit"), (world.jobs[2], "no-runners")])
    assert told() == expected
    (one, *_) = rig.bus.records(topics.JOBS_WAITING.name)
    assert one.key == world.pipeline.encode()
    text = rig.metrics.text().decode()
    assert 'penstock_waiting_jobs{pool="default",reason="no-fit"} 2.0' in text
    assert 'penstock_waiting_jobs{pool="nowhere",reason="no-runners"} 1.0' in text
    rig.sweep()
    assert told() == expected, "what is no news is not told"
    why = db.one("SELECT why FROM ready WHERE job_id = %s::uuid", (world.jobs[2],))
    assert (why["reason"], why["detail"]) == ("no-runners", {"pool": "nowhere"})
    offer = Offer(session_id=uuid4(), n=1, pool="nowhere", slots=0, executors=["noop"])
    rig.take(topics.WORKERS_OFFERS.name, encode(offer))
    rig.sweep()
    assert rig.dispatcher.grant() == 0
    assert told() == expected, "a runner without slots only supervises"


def test_a_promotion_without_a_hint_is_found(db: Database) -> None:
    world = World(db, [{} for _ in range(9)])
    rig = Rig(db)
    rig.sweep()
    jobs.promote(db, Changes(), tenant="default", job_id=world.jobs[8], lane="high", actor="ann")
    rig.sweep()
    assert rig.dispatcher.grant() == 8
    assert world.states()[8] == "ASSIGNED"


def test_reasons_that_another_dispatcher_wrote_are_taken_back(db: Database) -> None:
    world = World(db, [{}])
    why = {"reason": "no-runners", "text": "none", "detail": {"pool": "default"}, "at": "then"}
    jobs.explain(db, [{"job_id": world.jobs[0], "why": why}])
    rig = Rig(db)
    rig.clock.advance(5.0)
    rig.sweep()
    assert db.one("SELECT why FROM ready WHERE job_id = %s::uuid", (world.jobs[0],)) is None


def test_what_only_a_heartbeat_told_of_is_counted_with_the_next_sweep(db: Database) -> None:
    """Of a session that comes when the leases were read already."""
    world = World(db, [{"resources": {"cpu": 2.0}}, {"resources": {"cpu": 2.0}}])
    world.claim(0)
    rig = Rig(db, silent=True)
    rig.sweep()
    held = Held(world.jobs[0], 1, world.tokens[world.jobs[0]], "started")
    beat = Heartbeat(
        session_id=world.session, n=9, name="r", pool="default", slots=8, executors=["noop"], held=[held],
        capacity=Capacity(cpu=3.0),
    )  # fmt: skip
    rig.take(topics.WORKERS_HEARTBEATS.name, encode(beat))
    assert rig.dispatcher.grant() == 0, "two of three cores are taken"
