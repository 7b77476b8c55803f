"""The reaper on a real Postgres: whose leases it judges, and what one failing part means to the others."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.events import workers as worker_events
from penstock.kafka.partitioner import partition_for
from penstock.kafka.records import Outgoing
from penstock.runtime.metrics import Metrics
from penstock.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    RetrySettings,
    TimingSettings,
)
from penstock.store import jobs, logs, migrate, outbox, requests, workers
from penstock.store.database import Database, PoisonRow
from penstock.testing.clock import ManualClock
from penstock.testing.graphs import World
from penstock_services.reaper import decide
from penstock_services.reaper.handle import Reaper
from penstock_services.reaper.settings import ReaperSettings

PARTITIONS = 2
SCAN_ROWS = 5


class Rig:
    """A reaper of heartbeat partition 0 that has watched long enough to judge."""

    def __init__(self, db: Database) -> None:
        db.rows("DELETE FROM reaper_clock")  # between two tests nobody is well
        self.clock = ManualClock(time.time())
        self.metrics = Metrics()
        self.records: list[Outgoing] = []
        settings = ReaperSettings(
            process=ProcessSettings(),
            kafka=KafkaSettings(kafka_bootstrap="memory", kafka_partitions=PARTITIONS),
            postgres=PostgresSettings(postgres_dsn=""),
            timing=TimingSettings(session_ttl_seconds=0, sweep_seconds=0),
            retry=RetrySettings(),
            scan_rows=SCAN_ROWS,
            partition_seconds=0,
        )
        self.reaper = Reaper(
            db, settings, actor="reaper-0", owned=lambda: {(topics.WORKERS_HEARTBEATS.name, 0)},
            clock=self.clock, metrics=self.metrics,
        )  # fmt: skip

    def tick(self) -> list[str]:
        """Topics of what it publishes."""
        self.clock.advance(1.0)
        outcome = self.reaper.tick(self.clock.now())
        assert outcome.done is not None
        outcome.done()
        self.records = outcome.records
        return [one.topic for one in outcome.records]


def session_of(partition: int) -> str:
    """A session whose heartbeats lie there."""
    return next(one for one in iter(uuid4, "") if partition_for(one, PARTITIONS) == partition)


def lost_job(db: Database, partition: int) -> World:
    """A pipeline of one job whose lease is over, held by a session of that partition."""
    world = World(db, [{}])
    world.session = session_of(partition)
    world.claim(0)
    world.start(0, ttl_seconds=-1)
    return world


def test_leases_of_another_replica_do_not_hide_its_own(db: Database) -> None:
    others = [lost_job(db, 1) for _ in range(SCAN_ROWS + 3)]
    mine = lost_job(db, 0)
    Rig(db).tick()
    assert mine.states() == ["QUEUED"]
    assert {state for other in others for state in other.states()} == {"RUNNING"}


FAILING: list[tuple[object, str]] = [
    (outbox, "relay"),
    (jobs, "retry_due"),
    (jobs, "outage"),
    (jobs, "queue_due"),
    (jobs, "due_sessions"),
    (jobs, "expired_sessions"),
    (jobs, "reconcile"),
    (jobs, "lost"),
    (requests, "unapplied"),
    (workers, "mark_silent"),
    (outbox, "oldest_age"),
    (requests, "forget"),
    (logs, "close_unknown"),
    (migrate, "ensure_partitions"),
]


def no(error: Exception) -> Callable[..., object]:
    def refuse(*_args: object, **_more: object) -> object:
        raise error

    return refuse


@pytest.mark.parametrize("error", [RetryLater("busy"), PoisonRow("a value"), ValueError("a bug")])
@pytest.mark.parametrize(("home", "name"), FAILING, ids=[name for _, name in FAILING])
def test_a_part_that_fails_keeps_no_other_from_its_turn(
    db: Database, monkeypatch: pytest.MonkeyPatch, home: object, name: str, error: Exception
) -> None:
    lost = lost_job(db, 0)
    called: list[str] = []
    for other_home, other in FAILING:
        real = getattr(other_home, other)

        def noted(
            *args: object, real: Callable[..., object] = real, other: str = other, **more: object
        ) -> object:
            called.append(other)
            return real(*args, **more)

        monkeypatch.setattr(other_home, other, noted)
    monkeypatch.setattr(home, name, no(error))
    rig = Rig(db)
    rig.tick()
    for _ in range(2):
        called.clear()
        assert topics.WARMUP.name in rig.tick()
        assert sorted(called) == sorted(other for _, other in FAILING if other != name)
    if name != "expired_sessions":
        assert lost.states() == ["QUEUED"]


def test_while_the_database_is_away_nobody_is_judged(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(db)
    rig.tick()
    rig.tick()
    with monkeypatch.context() as away:
        away.setattr(db, "_run", no(RetryLater("postgres: away", component="postgres")))
        with pytest.raises(RetryLater):
            rig.tick()
    watch = rig.reaper._watch
    assert watch._quiet_since is None
    rig.tick()
    assert watch._quiet_since == rig.clock.monotonic()


def test_while_kafka_is_away_nobody_is_judged_and_then_all_live_longer(db: Database) -> None:
    rig, other = Rig(db), Rig(db)
    for one in (rig, other, rig, other):
        one.tick()
    world = World(db, [{}])
    world.session = session_of(0)
    world.claim(0)
    world.start(0, ttl_seconds=1)
    rig.reaper.tick(rig.clock.now())  # it said that it was well, and its records are not acknowledged
    db.rows("UPDATE reaper_clock SET last_ok = last_ok - interval '60 s'")
    db.rows("UPDATE leases SET expires_at = expires_at - interval '60 s'")
    rig.reaper._watch = decide.Watch(3.0)
    for _ in range(5):
        rig.clock.advance(1.0)
        rig.reaper.tick(rig.clock.now())
    assert world.states() == ["RUNNING"]
    assert outages(rig) == 0, "it is not over"
    rig.tick()
    rig.tick()
    other.tick()
    assert (outages(rig), outages(other)) == (1, 0)
    assert world.states() == ["RUNNING"]
    left = db.one(
        "SELECT extract(epoch FROM expires_at - clock_v1()) FROM leases WHERE job_id = %s::uuid",
        (world.jobs[0],),
    )
    assert 0 <= left <= 1.5


def outages(rig: Rig) -> float:
    return float(rig.metrics.text().decode().split("\npenstock_outages_total ")[1].split("\n")[0])


@pytest.mark.parametrize("partition", [0, 1])
def test_only_the_owner_of_its_heartbeats_stops_what_ran_too_long(db: Database, partition: int) -> None:
    world = World(db, [{"spec": {"timeout": 0}}])
    world.session = session_of(partition)
    world.claim(0)
    world.start(0)
    rig = Rig(db)
    rig.tick()
    orders = [
        worker_events.control.decode(record.value)
        for record in rig.records
        if record.topic == topics.WORKERS_CONTROL.name and record.key == world.session
    ]
    expected = [worker_events.Stop(world.jobs[0], 1, "run-timeout")] if partition == 0 else []
    assert [stop for order in orders for stop in order.stop] == expected
    assert world.states() == ["RUNNING"]


def test_many_leases_that_are_over_at_once_wait(db: Database) -> None:
    db.rows("DELETE FROM leases")
    world = World(db, [{}] * 120)
    world.session = session_of(0)
    world.claim(*range(120))
    world.start(*range(120), ttl_seconds=-1)
    rig = Rig(db)
    taken = []
    for _ in range(9):
        rig.tick()
        taken.append(world.states().count("QUEUED"))
    assert taken == [0, 0, 0, 0, 0, 2, 2, 3, 3]
    assert "penstock_expiry_breaker_total 7.0" in rig.metrics.text().decode()
    workers.renew(
        db, [],
        [{"session_id": world.session, "job_id": job_id, "attempt": 1, "token": world.tokens[job_id]}
         for job_id in world.jobs[:90]],
        ttl_seconds=60,
    )  # fmt: skip
    rig.tick()
    assert 4 <= world.states().count("QUEUED") <= 3 + SCAN_ROWS, "they are few now: a whole batch"
    db.rows("DELETE FROM leases")
