"""The polling thread's way round: what is committed when, and how it ends."""

from __future__ import annotations

import threading

import pytest

from penstock.events import topics
from penstock.events.workers import control
from penstock.kafka.memory import MemoryBus, MemoryGroupSource
from penstock.objects.memory import MemoryObjects
from penstock.runtime.run import Process
from penstock.store.database import Database
from penstock.store.logs import LogKey
from penstock.testing.clock import ManualClock
from penstock.testing.log_frames import SESSION, frame
from penstock.testing.log_index import ModelIndex
from penstock_services.logs.archive import Archive, Indexed, Known, Result, put_chunks
from penstock_services.logs.buffers import Cut
from penstock_services.logs.decide import Limits
from penstock_services.logs.duties import Duties
from penstock_services.logs.loop import GROUP, TOPIC, Loop
from penstock_services.logs.memory import Memory

JOB = "01890000-0000-7000-8000-000000000001"
PARTITION = (TOPIC, 0)


class DirectArchive(Archive):
    """Does at once what the threads would do."""

    def __init__(self) -> None:
        self.index = ModelIndex()
        self.objects = MemoryObjects()
        self.cluster_id = ""
        self.registered = 0
        self.away = False
        """While true nothing comes back."""
        self._done: list[Result] = []

    @property
    def room(self) -> int:
        return 8

    @property
    def idle(self) -> bool:
        return not self._done

    def store(self, cuts: list[Cut]) -> None:  # type: ignore[override]
        for cut in cuts:
            won = bool(self.index.index([put_chunks(self.objects, cut, self.cluster_id)]))
            self._done.append(Indexed(cut, self.index.heads([cut.key])[cut.key], won))

    def ask(self, keys: list[LogKey]) -> None:
        if keys:
            self._done.append(Known(self.index.heads(keys), asked=True))

    def register(self) -> None:
        self.registered += 1

    def results(self, timeout: float = 0) -> list[Result]:
        if self.away:
            return []
        done, self._done = self._done, []
        return done


class Readers:
    """Remembers what readers are told."""

    def __init__(self) -> None:
        self.news: list[set[LogKey]] = []
        self.gone: list[set[int]] = []

    def changed(self, keys: set[LogKey]) -> None:
        self.news.append(keys)

    def revoked(self, partitions: set[int]) -> None:
        self.gone.append(partitions)


class Scene:
    """A loop on a bus of one partition."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus(1, self.clock)
        self.process = Process("logs", "logs-0", clock=self.clock)
        self.archive = DirectArchive()
        self.readers = Readers()
        self.memory = Memory(Limits(100_000, 10, 30), 64 * 1024)
        duties = Duties(self.memory, session_id="", name="", address="", close_seconds=60, sweep_seconds=10)
        self.duties = duties
        self.loop = Loop(
            self.process, self.bus.sender(), self.memory, self.archive, duties, self.readers, lambda: "c"
        )

    def source(self) -> MemoryGroupSource:
        return self.bus.group(
            [TOPIC], GROUP, on_assigned=self.loop.on_assigned, on_revoked=self.loop.on_revoked
        )

    def committed(self) -> int:
        return self.bus.groups[GROUP].committed.get(PARTITION, 0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_is_stored_is_committed_a_little_later(scene: Scene) -> None:
    source = scene.source()
    scene.bus.sender().send([frame(JOB, 1, 5)])
    scene.loop.turn(source)
    scene.clock.advance(9)
    scene.loop.turn(source)
    assert scene.committed() == 0
    scene.clock.advance(1)
    scene.loop.turn(source)
    scene.loop.turn(source)
    scene.clock.advance(1)
    scene.loop.turn(source)
    assert scene.committed() == 1
    assert scene.readers.news[0] == {(JOB, 1)}
    (record,) = scene.bus.records(topics.WORKERS_CONTROL.name)
    assert record.key == SESSION.encode()
    assert control.decode(record.value).stored[0].seq == 5
    assert scene.archive.cluster_id == "c"
    source.close()
    assert scene.readers.gone == [{0}]
    assert scene.archive.registered == 2


def test_a_stop_stores_and_commits_what_is_there(scene: Scene) -> None:
    scene.bus.sender().send([frame(JOB, 1, 5), frame(JOB, 9, 9)])
    source = scene.source()
    scene.loop.turn(source)
    scene.process.stop()
    scene.loop.run(source, drain_seconds=8)
    assert scene.archive.index.heads([(JOB, 1)])[JOB, 1].lines == 5
    assert scene.committed() == 1


def test_nothing_is_committed_over_a_dead_letter_that_kafka_did_not_take(scene: Scene) -> None:
    bad = frame(JOB, 1, 5)._replace(value=b"x")
    scene.bus.sender().send([bad, frame(JOB, 1, 5, end=True)])
    source = scene.source()
    scene.bus.away = True
    scene.process.ready()
    stopper = threading.Event()

    def stop_when_it_waits(_seconds: float, wake: threading.Event) -> bool:
        stopper.set()
        scene.process.stop()
        return wake.is_set()

    scene.clock.sleep = stop_when_it_waits  # type: ignore[method-assign]
    scene.loop.run(source, drain_seconds=8)
    assert stopper.is_set()
    assert scene.committed() == 0


def test_with_full_memory_nothing_is_read(scene: Scene) -> None:
    source = scene.source()
    scene.archive.away = True
    scene.bus.sender().send([frame(JOB, first, first) for first in range(1, 201)])
    scene.loop.turn(source)
    assert scene.memory.full
    scene.bus.sender().send([frame(JOB, 201, 201)])
    scene.loop.turn(source)
    assert source.lag() == {TOPIC: 1}
    scene.archive.away = False
    for _ in range(4):
        scene.loop.turn(source)
    assert source.lag() == {TOPIC: 0}
    source.close()


def test_a_backlog_holds_off_what_looks_like_a_log_without_end(scene: Scene) -> None:
    source = scene.source()
    scene.loop.turn(source)
    database = CountingDatabase()
    for seconds, sweeps in ((0, 0), (15, 1), (10, 2)):  # an assignment is like a backlog
        scene.clock.advance(seconds)
        scene.duties.perform(database, scene.clock.monotonic())
        assert database.sweeps == sweeps
    scene.bus.sender().send([frame(JOB, seq, seq) for seq in range(1, 1700)])
    scene.loop.turn(source)
    for seconds, sweeps in ((10, 2), (5, 3)):
        scene.clock.advance(seconds)
        scene.duties.perform(database, scene.clock.monotonic())
        assert database.sweeps == sweeps
    source.close()


class CountingDatabase(Database):
    """Takes everything, knows nothing, counts the looks for open logs."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.sweeps = 0

    def call(self, function: str, *arguments: object) -> list[object]:
        self.sweeps += function == "open_logs_v1"
        return []
