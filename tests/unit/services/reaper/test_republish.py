"""What the reaper does when Kafka is another cluster; the database is told by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from penstock.core.errors import RetryLater
from penstock.events.envelope import header
from penstock.kafka.batches import Outcome
from penstock.kafka.records import Outgoing
from penstock.runtime.run import Process
from penstock.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    RetrySettings,
    TimingSettings,
)
from penstock.store.clusters import Page
from penstock.testing.clock import ManualClock
from penstock_services.reaper import republish
from penstock_services.reaper.republish import ClusterWatch
from penstock_services.reaper.settings import ReaperSettings

AT = "2026-11-22T08:00:00.5+00:00"
RECORD = {"pipeline_id": "0190a5d0-0000-7000-8000-000000000001", "version": 1, "at": AT}
JOB = {**RECORD, "job_id": "0190a5d0-0000-7000-8000-000000000002"}
SETTINGS = ReaperSettings(
    process=ProcessSettings(),
    kafka=KafkaSettings(kafka_bootstrap="none"),
    postgres=PostgresSettings(postgres_dsn="none"),
    timing=TimingSettings(),
    retry=RetrySettings(),
)


@dataclasses.dataclass
class Scene:
    """A reaper's surroundings: the cluster's id, what Postgres answers, what was done."""

    cluster: str = "one"
    pages: list[Page] = dataclasses.field(default_factory=list)
    lost: bool = False
    applied: int = 0
    met: list[str] = dataclasses.field(default_factory=list)
    gave: list[Page] = dataclasses.field(default_factory=list)
    away: bool = False

    def meet(self, _db: object, cluster_id: str, *, keep_seconds: float) -> bool:
        assert keep_seconds == 24 * 3600.0
        self.met.append(cluster_id)
        return self.lost

    def take(self, _db: object, cluster_id: str, limit: int) -> Page | None:
        assert (cluster_id, limit) == (self.met[-1], 200)
        return self.pages.pop(0) if self.pages else None

    def apply(self) -> list[str]:
        self.applied += 1
        return ["a topic"]

    def depths(self) -> dict[str, int]:
        if self.away:
            raise RetryLater("away")
        return {"a.dlq": 3}


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene()
    monkeypatch.setattr(republish.clusters, "meet", made.meet)
    monkeypatch.setattr(republish.clusters, "take", made.take)
    monkeypatch.setattr(republish.clusters, "gave", lambda _db, _id, page: made.gave.append(page))
    return made


def watch(scene: Scene, process: Process | None = None) -> ClusterWatch:
    anything: Any = scene
    process = process or Process("reaper", "reaper-0", clock=ManualClock())
    return ClusterWatch(process, anything, SETTINGS, lambda: scene.cluster, anything, scene.apply)


def test_the_same_cluster_is_met_once(scene: Scene) -> None:
    tick = watch(scene).around(lambda _now: Outcome())
    assert [tick(0.0), tick(1.0)] == [Outcome(), Outcome()]
    assert (scene.met, scene.applied) == (["one"], 0)


def test_topics_are_made_before_anything_is_sent(scene: Scene) -> None:
    seen: list[int] = []
    tick = watch(scene).around(lambda _now: seen.append(scene.applied))
    tick(0.0)
    scene.cluster = ""  # a client that is being rebuilt knows none
    tick(1.0)
    scene.cluster = "two"
    tick(2.0)
    tick(3.0)
    assert (scene.met, seen) == (["one", "two"], [0, 0, 1, 1])


def test_a_reaper_that_starts_on_a_wiped_cluster_makes_its_topics(scene: Scene) -> None:
    scene.lost = True
    watch(scene).meet("one")
    assert scene.applied == 1


def test_a_page_is_noted_once_its_records_are_acked(scene: Scene) -> None:
    page = Page([dict(RECORD)], [dict(JOB)], None, None)
    scene.pages = [page]
    done: list[str] = []
    own = Outgoing("own", None, None, [])
    outcome = watch(scene).around(lambda _now: Outcome([own], lambda: done.append("own")))(0.0)
    assert outcome is not None
    assert outcome.records[0] == own
    assert [header(one.headers, "replayed") for one in outcome.records[1:]] == ["1", "1"]
    assert outcome.done is not None
    assert (done, scene.gave) == ([], [])
    outcome.done()
    assert (done, scene.gave) == (["own"], [page])


def test_dead_letters_are_counted_now_and_then(scene: Scene) -> None:
    clock = ManualClock()
    process = Process("reaper", "reaper-0", clock=clock)
    tick = watch(scene, process).around(lambda _now: None)
    scene.away = True
    tick(0.0)
    assert b'penstock_dlq_records{topic="a.dlq"}' not in process.metrics.text()
    scene.away = False
    clock.advance(republish.COUNT_SECONDS)
    tick(1.0)
    assert b'penstock_dlq_records{topic="a.dlq"} 3.0' in process.metrics.text()
