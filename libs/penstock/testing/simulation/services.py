"""The control services as actors: their real steps within the real loop, one turn of it an action."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4, uuid7
from penstock.events import topics
from penstock.kafka.batches import Step, Tick
from penstock.kafka.loop import _Loop
from penstock.kafka.memory import MemoryGroupSource, MemoryTailSource
from penstock.kafka.ports import MAX_BYTES
from penstock.kafka.records import Partition
from penstock.runtime.run import Process
from penstock.runtime.settings import KafkaSettings, PostgresSettings, ProcessSettings, RetrySettings
from penstock.store.jobs import Policy
from penstock.testing.simulation.faults import FaultyDatabase, FaultySender
from penstock.testing.simulation.world import METRICS, PARTITIONS, TIMING, World
from penstock_services.advancer.handle import TICK_SECONDS, Advancer
from penstock_services.canceller.handle import Canceller
from penstock_services.dispatcher.handle import Dispatcher
from penstock_services.dispatcher.settings import DispatcherSettings
from penstock_services.dispatcher.sweeps import Sweeps
from penstock_services.intake.handle import Intake
from penstock_services.reaper.handle import Reaper
from penstock_services.reaper.settings import ReaperSettings

RETRY: Final = RetrySettings(retry_base_seconds=1, retry_cap_seconds=4)
POLICY: Final = Policy(retry_base=1, retry_cap=4)
SHARE_BYTES: Final = 1_000
"""So small that partitions are served in turn here, too."""
HOUSEKEEPING: Final = ("partitions", "unknown logs", "gauges", "old rows")
"""Duties of the reaper that no job depends on; each costs as much as a transition."""
SHARED: Final[dict[str, Any]] = {
    "process": ProcessSettings(),
    "kafka": KafkaSettings(kafka_bootstrap="memory", kafka_partitions=PARTITIONS),
    "postgres": PostgresSettings(postgres_dsn="simulated"),
    "timing": TIMING,
}


class Wiring(NamedTuple):
    """What the loop of a service runs."""

    step: Step
    tick: Tick
    tick_seconds: float = 1.0
    rebalanced: Callable[[set[Partition]], None] | None = None


class Source(MemoryGroupSource):
    """A group member whose process may die just before it states what is done."""

    before_commit: Callable[[], None]
    commits_early = False
    """Planted: what is handed out counts as done."""

    def poll(self, timeout: float, max_records: int = 500, max_bytes: int = MAX_BYTES) -> list[Any]:
        """See `Source.poll`."""
        batch = super().poll(timeout, max_records, max_bytes)
        if self.commits_early:
            super().commit()
        return batch

    def commit(self, upto: Any = None) -> None:
        """See `Source.commit`."""
        self.before_commit()
        super().commit(upto)


class Service:
    """One replica of a service that reads in a group."""

    def __init__(self, world: World, name: str, topic: str, make: Callable[[Service], Wiring]) -> None:
        self.world = world
        self.name = name
        self.away_until = 0.0
        self.db = FaultyDatabase(world, self)
        self.sender = FaultySender(world, self)
        self._topic = topic
        self._make = make
        self._source: Source | None = None
        self._next_tick = 0.0

    def act(self) -> None:
        """One turn of its loop."""
        source = self._source or self._start()
        clock = self.world.clock
        batch = self._loop.read(0.0, self.world.rng.choice((1, 3, 20)), SHARE_BYTES)
        if batch:
            self._loop.handle(batch)
        if source is self._source and clock.monotonic() >= self._next_tick:
            self._next_tick = clock.monotonic() + self._wiring.tick_seconds
            self._loop.tick(self._wiring.tick)

    def die(self) -> None:
        """See `Actor.die`."""
        if self._source is not None:
            self._source.fence()
        self._source = None

    def freeze(self) -> None:
        """See `Actor.freeze`."""
        assert self._source is not None
        self._source.fence()

    def stall_seconds(self, rng: random.Random) -> float:
        """See `Actor.stall_seconds`."""
        return rng.choice((1.0, 3.0))

    def owned(self) -> set[Partition]:
        """The partitions that it believes to hold."""
        return self._source.assignment() if self._source is not None else set()

    def _start(self) -> Source:
        world = self.world
        self._wiring = self._make(self)
        told = self._wiring.rebalanced
        self._source = Source(world.bus, [self._topic], self.name.partition("-")[0], told, told)
        self._source.before_commit = lambda: world.pause(self, "before the offset commit")
        process = Process(self.name, self.name, clock=world.clock, metrics=METRICS)
        self._loop = _Loop(process, self._source, self._wiring.step, self.sender)
        self._next_tick = 0.0
        return self._source


class DispatcherActor:
    """One replica of the dispatcher: its own loop, one turn of it an action."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.away_until = 0.0
        self._settings = DispatcherSettings(**SHARED)
        self._dispatcher: Dispatcher | None = None
        self._next_flush = 0.0

    def act(self) -> None:
        """See `penstock_services.dispatcher.__main__`."""
        dispatcher = self._dispatcher or self._start()
        world, clock = self.world, self.world.clock
        most = world.rng.choice((1, 3, 20))
        for source in (self._hints, self._offers):
            dispatcher.take(source.poll(0.0, most))
            source.commit()
        try:
            self._sweeps.turn(clock.monotonic(), whole=dispatcher.own(self._offers.assignment()))
            while dispatcher.grant():
                pass
            if clock.monotonic() >= self._next_flush:
                dispatcher.flush()
                self._next_flush = clock.monotonic() + 1.0
        except RetryLater:
            self.away_until = clock.monotonic() + 0.5

    def die(self) -> None:
        """See `Actor.die`."""
        if self._dispatcher is not None:
            self._offers.fence()
        self._dispatcher = None

    def freeze(self) -> None:
        """See `Actor.freeze`."""
        self._offers.fence()

    def stall_seconds(self, rng: random.Random) -> float:
        """See `Actor.stall_seconds`."""
        return rng.choice((1.0, 3.0))

    def _start(self) -> Dispatcher:
        world = self.world
        names = [*(topic.name for topic in topics.JOBS_READY.values()), topics.WORKERS_HEARTBEATS.name]
        self._hints: MemoryTailSource = world.bus.tail(names, start=TIMING.session_ttl_seconds)
        self._offers: MemoryGroupSource = world.bus.group([topics.WORKERS_OFFERS.name], "dispatcher")
        self._next_flush = 0.0
        self._dispatcher = Dispatcher(
            FaultyDatabase(world, self),
            FaultySender(world, self),
            self._settings,
            actor=self.name,
            clock=world.clock,
            metrics=METRICS,
            new_token=partial(uuid4, world.rng.randbytes),
        )
        self._sweeps = Sweeps(self._dispatcher.sweep, TIMING.sweep_seconds)
        return self._dispatcher


def services(world: World) -> Sequence[Service | DispatcherActor]:
    """Two replicas of each control service."""
    return [
        actor
        for number in range(2)
        for actor in (
            Service(world, f"intake-{number}", topics.PIPELINES_REQUESTED.name, _intake),
            Service(world, f"advancer-{number}", topics.JOBS_REPORTS.name, _advancer),
            DispatcherActor(world, f"dispatcher-{number}"),
            Service(world, f"canceller-{number}", topics.CANCEL_REQUESTED.name, _canceller),
            Service(world, f"reaper-{number}", topics.WORKERS_HEARTBEATS.name, _reaper),
        )
    ]


class _NoDefinitions:
    """No request of ours names one."""

    def definition(self, tenant: str, sha256: str) -> bytes | None:  # noqa: ARG002 - the interface
        return None


def _intake(service: Service) -> Wiring:
    new_id = partial(uuid7, random_bytes=service.world.rng.randbytes)
    intake = Intake(service.db, _NoDefinitions(), actor=service.name, open_tenancy=True, new_id=new_id)
    return Wiring(intake.step, intake.tick)


def _advancer(service: Service) -> Wiring:
    advancer = Advancer(
        service.db,
        actor=service.name,
        ttl_seconds=TIMING.session_ttl_seconds,
        policy=POLICY,
        metrics=METRICS,
        jitter=service.world.rng.random,
    )
    return Wiring(advancer.step, advancer.tick, TICK_SECONDS)


def _canceller(service: Service) -> Wiring:
    canceller = Canceller(service.db, actor=service.name, sweep_seconds=TIMING.sweep_seconds)
    return Wiring(canceller.step, canceller.tick)


def _reaper(service: Service) -> Wiring:
    reaper = Reaper(
        service.db,
        ReaperSettings(**SHARED, retry=RETRY, relay_after_seconds=1.0),
        actor=service.name,
        owned=service.owned,
        clock=service.world.clock,
        metrics=METRICS,
    )
    reaper._due.update(dict.fromkeys(HOUSEKEEPING, float("inf")))  # noqa: SLF001 - they are never due here
    return Wiring(reaper.step, reaper.tick, TIMING.scan_seconds, reaper.rebalanced)
