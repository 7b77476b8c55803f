"""A transport in memory that the test plays the services on, and an agent around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4, uuid7
from penstock.events.jobs import Grant, Report, Reports
from penstock.events.logs import FrameHead
from penstock.events.workers import Control, Grants, Heartbeat, Offer, Settled
from penstock.runtime.run import Process
from penstock.runtime.settings import KafkaSettings, ProcessSettings, TimingSettings
from penstock.testing.clock import ManualClock
from penstock_services.runner.agent import Agent
from penstock_services.runner.executors import AnyExecutor, ExecutorPlace, Output, Result
from penstock_services.runner.executors.noop import NoopExecutor
from penstock_services.runner.folder import StateFolder
from penstock_services.runner.settings import (
    DeliverySettings,
    OfferSettings,
    PlaceSettings,
    RunnerSettings,
)
from penstock_services.runner.transport import OnControl, OnGrants, OnMoved


class FakeTransport:
    """Keeps what the runner says; `away` makes it fail. Nothing is settled unless the test says so."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.away = False
        self.heartbeats: asyncio.Queue[Heartbeat] = asyncio.Queue()
        self.offers: asyncio.Queue[Offer] = asyncio.Queue()
        self.told: asyncio.Queue[tuple[str, Report]] = asyncio.Queue()
        self.batches: list[Sequence[Reports]] = []
        self.sent: asyncio.Queue[tuple[FrameHead, bytes]] = asyncio.Queue()

    async def start(self, on_grants: OnGrants, on_control: OnControl, on_moved: OnMoved) -> None:
        self._on_grants = on_grants
        self._on_control = on_control
        self.moved = on_moved
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def watch(self) -> None:
        await self.ended

    async def heartbeat(self, heartbeat: Heartbeat) -> None:
        self._fail_if_away()
        self.heartbeats.put_nowait(heartbeat)

    async def offer(self, offer: Offer) -> None:
        self._fail_if_away()
        self.offers.put_nowait(offer)

    async def reports(self, reports: Sequence[Reports]) -> None:
        self._fail_if_away()
        self.batches.append(reports)
        for record in reports:
            for report in record.reports:
                self.told.put_nowait((record.pipeline_id, report))

    async def frames(self, frames: Sequence[tuple[FrameHead, bytes]]) -> None:
        self._fail_if_away()
        for frame in frames:
            self.sent.put_nowait(frame)

    async def close(self) -> None:
        pass

    def grant(self, *grants: Grant, n: int = 1) -> None:
        self._on_grants(Grants(self.session_id, n, list(grants)))

    def control(self, **what: Any) -> None:
        self._on_control(Control(self.session_id, **what))

    def settle(self, report: Report, *, accepted: bool = True) -> None:
        self.control(settled=[Settled(report.job_id, report.attempt, report.kind, accepted)])

    async def report(self, kind: str) -> Report:
        """The next report, which must be of this kind."""
        report = (await self.told.get())[1]
        assert report.kind == kind, report
        return report

    async def offered(self, job_id: str) -> Offer:
        """The offer that tells that this job left its slot."""
        while True:
            offer = await self.offers.get()
            if any(ended.job_id == job_id for ended in offer.ended):
                return offer

    def _fail_if_away(self) -> None:
        if self.away:
            raise RetryLater("away", component="kafka")


class HeldExecutor:
    """Runs until the test lets it end, or until it is stopped."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[Result]] = {}
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.stops: list[tuple[str, float]] = []
        self.allowed: list[tuple[str, float]] = []
        self.outputs: dict[str, Output] = {}
        self.stoppable = True

    async def run(self, grant: Grant, output: Output) -> Result:
        self.running[grant.job_id] = asyncio.get_running_loop().create_future()
        self.outputs[grant.job_id] = output
        self.started.put_nowait(grant.job_id)
        try:
            return await self.running[grant.job_id]
        finally:
            self.ended.put_nowait(grant.job_id)

    def stop(self, grant: Grant, grace: float) -> None:
        self.stops.append((grant.job_id, grace))
        if self.stoppable:
            self.end(grant.job_id, Result(success=False, exit_code=143, reason="cancelled", stopped=True))

    def allow(self, grant: Grant, until: float) -> None:
        self.allowed.append((grant.job_id, until))

    def end(self, job_id: str, result: Result) -> None:
        if not self.running[job_id].done():
            self.running[job_id].set_result(result)


class Bench:
    """An agent under test and what it is connected to."""

    def __init__(
        self, agent: Agent, transport: FakeTransport, held: HeldExecutor, stop: asyncio.Event
    ) -> None:
        self.agent = agent
        self.transport = transport
        self.held = held
        self.stop = stop
        self.done: asyncio.Task[None]


MakeBench = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bench(tmp_path: Path, clock: ManualClock) -> MakeBench:
    """A running agent with the executors `noop` and `held`; settings by keyword."""

    @asynccontextmanager
    async def make(
        slots: int = 2, look_ahead: int = 512, spool_bytes: int = 1 << 20, drain_seconds: float = 0
    ) -> AsyncIterator[Bench]:
        held = HeldExecutor()
        transports: list[FakeTransport] = []

        def transport(session_id: str) -> FakeTransport:
            transports.append(FakeTransport(session_id))
            return transports[0]

        def load(place: ExecutorPlace) -> dict[str, AnyExecutor]:
            return {"noop": NoopExecutor(place), "held": held}

        settings = RunnerSettings(
            process=ProcessSettings(),
            kafka=KafkaSettings(kafka_bootstrap="unused:1"),
            timing=TimingSettings(),
            offer=OfferSettings(slots=slots, look_ahead=look_ahead, pool="blue", labels=("linux", "big")),
            place=PlaceSettings(state_dir=str(tmp_path)),
            delivery=DeliverySettings(spool_bytes=spool_bytes, drain_seconds=drain_seconds),
        )
        folder = StateFolder.claim(str(tmp_path), "")
        agent = Agent(Process("runner", "test", clock=clock), settings, folder, transport, load)
        it = Bench(agent, transports[0], held, asyncio.Event())
        it.done = asyncio.create_task(agent.run(it.stop))
        try:
            # The first offer comes after the first heartbeat.
            await it.transport.offers.get()
            yield it
        finally:
            it.stop.set()
            held.stoppable = True
            if not it.done.done():
                await it.done
            folder.release()

    return make


@pytest.fixture
def new_grant() -> Callable[..., Grant]:
    """Makes grants that differ; fields by keyword, `spec` as further keywords."""

    def make(
        executor: str = "held",
        attempt: int = 1,
        pipeline_id: str = "",
        lease: float | None = None,
        **spec: Any,
    ) -> Grant:
        return Grant(
            uuid7(1_700_000_000.0),
            attempt,
            uuid4(),
            pipeline_id or uuid7(1_700_000_000.0),
            "default",
            "a job",
            {"executor": executor, **spec},
            lease=lease,
        )

    return make
