"""Real runners as actors: the agent with its session, journal and spool, in an event loop of virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from unittest.mock import patch

from penstock.core.ids import uuid7
from penstock.definition.model import DEFAULT_GRACE_SECONDS
from penstock.events import topics, workers
from penstock.events.codec import encode
from penstock.events.jobs import Grant, Reports
from penstock.events.logs import FrameHead
from penstock.kafka.records import Outgoing
from penstock.runtime.clock import Clock
from penstock.runtime.run import Process
from penstock.runtime.settings import KafkaSettings, ProcessSettings
from penstock.testing.simulation.faults import FaultySender
from penstock.testing.simulation.fleet import Fleet, Run
from penstock.testing.simulation.world import METRICS, TIMING, World
from penstock_services.runner import agent
from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.executors import AnyExecutor, ExecutorPlace, Output, Result
from penstock_services.runner.folder import StateFolder
from penstock_services.runner.session import seconds_of
from penstock_services.runner.settings import (
    DeliverySettings,
    OfferSettings,
    PlaceSettings,
    RunnerSettings,
)
from penstock_services.runner.transport import OnControl, OnGrants, OnMoved

SLOTS: Final = 2
EXECUTOR: Final = "simulated"
STALL_RATE: Final = 0.1
"""How likely a runner falls silent in a turn in which it runs an exclusive attempt, which must stand that."""
OVERDUE: Final = Result(success=False, reason="worker-lost", stopped=True)
"""What a guard stopped, or did not start, because its lease was about to end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: its time is the world's, and a spin does all that is due."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._virtual = clock
        self._busy = False

    def time(self) -> float:
        """Seconds of the world's monotonic clock."""
        return self._virtual.monotonic()

    def call_soon(self, *args: Any, **more: Any) -> asyncio.Handle:  # type: ignore[override]  # handed on as it is
        """Notes that there is more to do."""
        self._busy = True
        return super().call_soon(*args, **more)

    def run_in_executor(  # type: ignore[override]  # any callable, as the original
        self,
        executor: Any,  # noqa: ARG002 - the interface
        func: Any,
        *args: Any,
    ) -> asyncio.Future[Any]:
        """At once, so that no thread decides what happens when."""
        done = self.create_future()
        done.set_result(func(*args))
        return done

    def spin(self) -> None:
        """Run whatever can run now."""
        self._busy = True
        while self._busy:
            super().call_soon(self.stop)
            self._busy = False
            self.run_forever()


class RunnerActor:
    """One runner. What it leaves on disk when it dies is found by the one that comes after it."""

    def __init__(self, world: World, fleet: Fleet, name: str, folder: Path) -> None:
        self.world = world
        self.name = name
        self.away_until = 0.0
        self._fleet = fleet
        self._state_dir = str(folder)
        self._sender = FaultySender(world, self, boundary=False)
        self._loop: VirtualLoop | None = None
        self._transport: Transport
        self._agent: agent.Agent

    def act(self) -> None:
        """Take in what came for it, and do what is due."""
        loop = self._loop or self._start()
        loop.call_soon(self._transport.listen, self.world.rng.choice((1, 3, 20)))
        loop.spin()
        if self._task.done():
            self._task.result()  # raises what ended it; nobody has told it to end
        if self._transport.dead or self.world.chance(self.world.rates.crash):
            self.world.tell(self.name, "dies")
            self.die()
            self.away_until = self.world.clock.monotonic() + self.world.rng.choice((0.0, 2.0, 10.0))
        elif self._fleet.runs_exclusive(self.name) and self.world.chance(STALL_RATE):
            self.world.stall(self)

    def die(self) -> None:
        """Nothing more is sent; its files stay."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self._transport.dead = True
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.spin()
        self._folder.release()
        loop.close()

    def freeze(self) -> None:
        """It is in no group."""

    def stall_seconds(self, rng: random.Random) -> float:
        """Half of them last longer than its leases: a zombie comes back."""
        return rng.uniform(1.0, 2.5) * self.world.lease_seconds

    def unsettled(self) -> int:
        """Reports in its journal, and attempts that it holds."""
        if self._loop is None:
            return 0
        return len(self._agent._journal) + len(self._agent._session.seats())  # noqa: SLF001 - it has no view of them

    def _start(self) -> VirtualLoop:
        world = self.world
        loop = self._loop = VirtualLoop(world.clock)
        loop.set_exception_handler(lambda _, what: world.broken.append(f"{self.name}: {what}"))
        self._folder = StateFolder.claim(self._state_dir, self.name)
        settings = _settings(self._state_dir)
        process = Process("runner", self.name, clock=world.clock, metrics=METRICS)
        process._ready.set()  # noqa: SLF001 - `ready` freezes the garbage collector of the whole process

        def transport(session_id: str) -> Transport:
            self._transport = Transport(world, self._sender, session_id)
            return self._transport

        def executors(_place: ExecutorPlace) -> Mapping[str, AnyExecutor]:
            return {EXECUTOR: SimulatedExecutor(self._fleet, self.name, world.clock)}

        async def main() -> None:
            with (
                patch.object(agent, "uuid7", lambda now: uuid7(now, world.rng.randbytes)),
                patch.object(agent, "Guards", _NoGuards),
            ):
                self._agent = agent.Agent(process, settings, self._folder, transport, executors)
            await self._agent.run(asyncio.Event())

        self._task = loop.create_task(main())
        loop.spin()
        world.tell(self.name, f"begins session {self._transport.session_id[-4:]}")
        return loop


class Transport:
    """See `penstock_services.runner.transport`: the world's bus. A dead runner's calls never return."""

    def __init__(self, world: World, sender: FaultySender, session_id: str) -> None:
        self.session_id = session_id
        self.dead = False
        self._world = world
        self._sender = sender
        self._tail = world.bus.tail([topics.WORKERS_GRANTS.name, topics.WORKERS_CONTROL.name])

    async def start(
        self,
        on_grants: OnGrants,
        on_control: OnControl,
        on_moved: OnMoved,  # noqa: ARG002 - the interface
    ) -> None:
        """See `Transport.start`; the cluster stays the same."""
        self._on_grants = on_grants
        self._on_control = on_control

    async def watch(self) -> None:
        """See `Transport.watch`."""
        await _for_ever()

    async def heartbeat(self, heartbeat: workers.Heartbeat) -> None:
        """See `Transport.heartbeat`."""
        await self._send([(topics.WORKERS_HEARTBEATS.name, self.session_id, heartbeat)])

    async def offer(self, offer: workers.Offer) -> None:
        """See `Transport.offer`."""
        await self._send([(topics.WORKERS_OFFERS.name, offer.pool, offer)])

    async def reports(self, reports: Sequence[Reports]) -> None:
        """See `Transport.reports`."""
        await self._send([(topics.JOBS_REPORTS.name, record.pipeline_id, record) for record in reports])

    async def frames(self, frames: Sequence[tuple[FrameHead, bytes]]) -> None:
        """Logs are not simulated: they stay in the spool."""

    async def close(self) -> None:
        """Nothing is in flight."""

    def listen(self, most: int) -> None:
        """Hand on what came; a runner's partitions hold records of other sessions, too."""
        for record in self._tail.poll(0.0, most):
            if record.key != self.session_id.encode():
                continue
            if record.topic == topics.WORKERS_GRANTS.name:
                self._on_grants(workers.grants.decode(record.value))
            else:
                self._on_control(workers.control.decode(record.value))

    async def _send(self, records: Sequence[tuple[str, str, Any]]) -> None:
        world = self._world
        if world.chance(world.rates.crash):
            self.dead = True
        if self.dead:
            await _for_ever()
        self._sender.send([Outgoing(topic, key, encode(record), []) for topic, key, record in records])
        if world.chance(world.rates.crash):
            self.dead = True
            await _for_ever()


class _NoGuards:
    """No process is started, so none is guarded; to look for those of this machine takes long."""

    def __init__(self, _group: ControlGroup) -> None: ...

    async def close(self) -> None:
        """There are none."""


class Guarded:
    """An attempt while it runs, and what its guard knows: a process that goes on when the runner does not."""

    def __init__(self, run: Run, clock: Clock, grace: float, until: float) -> None:
        self.run = run
        self.until = until
        """When the guard stops it by itself; never, unless it is exclusive."""
        self._clock = clock
        self._grace = grace
        self._ends = clock.monotonic() + run.plan.seconds
        self._stop = asyncio.Event()
        self._timeout: asyncio.Timeout | None = None
        self._bound()

    def stop(self) -> None:
        """The runner orders it."""
        self._stop.set()

    def allow(self, until: float) -> None:
        """It may run until then, unless its guard has stopped it: that does not wait for a runner."""
        if self._clock.monotonic() >= self.until:
            return
        self.until = until
        self._bound()
        if self._timeout is not None and self._clock.monotonic() < self._ends:
            self._timeout.reschedule(min(self._ends, until))

    async def ended(self) -> Literal["by itself", "overdue", "stopped"]:
        """How it ends, once it has."""
        try:
            async with asyncio.timeout_at(min(self._ends, self.until)) as self._timeout:
                await self._stop.wait()
        except TimeoutError:
            return "by itself" if self._ends <= self.until else "overdue"
        finally:
            self._timeout = None
        await asyncio.sleep(self.run.plan.grace)
        return "stopped"

    def _bound(self) -> None:
        left = self.until + self._grace - self._clock.monotonic()
        self.run.dead_by = self._clock.now() + left


class SimulatedExecutor:
    """Runs nothing: how long each attempt takes, and how it ends, is the fleet's plan."""

    def __init__(self, fleet: Fleet, runner: str, clock: Clock) -> None:
        self._fleet = fleet
        self._runner = runner
        self._clock = clock
        self._running: dict[tuple[str, int], Guarded] = {}
        self._allowed: dict[tuple[str, int], float] = {}

    async def run(self, grant: Grant, output: Output) -> Result:  # noqa: ARG002 - the interface
        """See `Executor.run`."""
        key = (grant.job_id, grant.attempt)
        until = self._allowed.pop(key, math.inf)
        if self._clock.monotonic() >= until:
            return OVERDUE
        run = self._fleet.start(grant, self._runner)
        grace = seconds_of(grant, "grace", DEFAULT_GRACE_SECONDS)
        guarded = self._running[key] = Guarded(run, self._clock, grace, until)
        try:
            result = self._result(run, await guarded.ended())
        except asyncio.CancelledError:
            self._fleet.killed(run)
            raise
        finally:
            del self._running[key]
        self._fleet.end(run, success=result.success, stopped=result.stopped)
        return result

    def stop(self, grant: Grant, grace: float) -> None:  # noqa: ARG002 - it ends when it ends
        """See `Executor.stop`."""
        if guarded := self._running.get((grant.job_id, grant.attempt)):
            guarded.stop()

    def allow(self, grant: Grant, until: float) -> None:
        """See `Executor.allow`."""
        key = (grant.job_id, grant.attempt)
        if guarded := self._running.get(key):
            guarded.allow(until)
        else:
            self._allowed[key] = until

    def _result(self, run: Run, ended: Literal["by itself", "overdue", "stopped"]) -> Result:
        if ended == "stopped":
            return Result(success=False, exit_code=143, stopped=True)
        if ended == "overdue":
            return OVERDUE
        if run.plan.breaks:
            self._fleet.end(run, success=False, stopped=False)
            raise OSError("planned: the executor breaks")
        success = run.plan.success
        return Result(success, 0 if success else 1, None if success else "exit-code")


def _settings(state_dir: str) -> RunnerSettings:
    return RunnerSettings(
        process=ProcessSettings(),
        kafka=KafkaSettings(kafka_bootstrap="memory"),
        timing=TIMING,
        offer=OfferSettings(slots=SLOTS, look_ahead=4),
        place=PlaceSettings(state_dir=state_dir),
        delivery=DeliverySettings(report_retry_seconds=2.0),
    )


async def _for_ever() -> None:
    await asyncio.Event().wait()
