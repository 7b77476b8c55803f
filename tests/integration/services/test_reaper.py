"""The reaper on a real Postgres: whose leases it judges, and what one failing part means to the others."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.kafka.partitioner import partition_for
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
from penstock_services.reaper.handle import Reaper
from penstock_services.reaper.settings import ReaperSettings

PARTITIONS = 2
SCAN_ROWS = 5


class Rig:
    """A reaper of heartbeat partition 0 that has watched long enough to judge."""

    def __init__(self, db: Database) -> None:
        self.clock = ManualClock(time.time())
        self.metrics = Metrics()
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
        return [one.topic for one in self.reaper.tick(self.clock.now()).records]


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
    (jobs, "expired_sessions"),
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
    for _ in range(2):
        called.clear()
        assert topics.WARMUP.name in rig.tick()
        assert sorted(called) == sorted(other for _, other in FAILING if other != name)
    if name != "expired_sessions":
        assert lost.states() == ["QUEUED"]


def test_while_the_database_is_away_nobody_is_judged(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(db)
    rig.tick()
    with monkeypatch.context() as away:
        away.setattr(db, "_run", no(RetryLater("postgres: away", component="postgres")))
        with pytest.raises(RetryLater):
            rig.tick()
    watch = rig.reaper._watch
    assert watch._quiet_since is None
    rig.tick()
    assert watch._quiet_since == rig.clock.monotonic()
