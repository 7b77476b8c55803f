"""The agent: one runner session, from its first heartbeat to its last. All of it runs in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from penstock.core.errors import RejectInput, RetryLater, StopProcess
from penstock.core.ids import uuid7
from penstock.events.workers import Capacity, Control, Heartbeat, Offer, WorkerState
from penstock.runtime.log import logger
from penstock.runtime.run import Process
from penstock_services.runner.attempts import Attempts
from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.executors import AnyExecutor, ExecutorPlace, load_executors
from penstock_services.runner.folder import StateFolder, remove_all
from penstock_services.runner.journal import Journal
from penstock_services.runner.processes import Guards
from penstock_services.runner.reporting import Reporter
from penstock_services.runner.session import Session
from penstock_services.runner.settings import RunnerSettings
from penstock_services.runner.shipping import LogShipper
from penstock_services.runner.spool import Spool
from penstock_services.runner.transport import Transport

TICK_SECONDS: Final = 1.0
OFFER_SECONDS: Final = 0.1
"""Nobody waits for the news of a runner that had free slots anyway: it is gathered for so long."""
FAREWELL_SECONDS: Final = 5.0
"""How long the last reports and log frames may take to be delivered; what is not stays on disk."""

MakeTransport = Callable[[str], Transport]
"""Makes the transport of the session of this id."""
LoadExecutors = Callable[[ExecutorPlace], Mapping[str, AnyExecutor]]

log = logger(__name__)


class Agent:
    """Listens, heart-beats, offers, and ends in good order; attempts are the `Attempts`' business."""

    def __init__(
        self,
        process: Process,
        settings: RunnerSettings,
        folder: StateFolder,
        make_transport: MakeTransport,
        load: LoadExecutors | None = None,
    ) -> None:
        """Put it together.

        Raises:
            StopProcess: the state folder or an executor is not usable.
        """
        self._process = process
        self._settings = settings
        self._folder = folder
        clock, delivery = process.clock, settings.delivery
        session_id = uuid7(clock.now())
        self._transport = make_transport(session_id)
        try:
            self._journal = Journal(folder.journal)
            self._spool = Spool(folder.spool, delivery.spool_bytes)
        except OSError as error:
            raise StopProcess(f"{error.filename}: {error.strerror}; set PENSTOCK_STATE_DIR") from error
        self._shipper = LogShipper(
            self._spool, self._transport, session_id, clock, delivery.frame_retry_seconds
        )
        self._reporter = Reporter(
            self._journal, self._transport, session_id, clock, delivery.report_retry_seconds
        )
        self._guards = Guards(ControlGroup(folder.group))
        place = ExecutorPlace(folder.work, settings.place, self._guards)
        executors = load(place) if load else load_executors(place, settings.offer.executors)
        self._introduction = introduction(session_id, settings, folder.path.name, sorted(executors))
        self._session = Session(
            session_id,
            slots=settings.offer.slots,
            look_ahead=settings.offer.look_ahead,
            heartbeat_seconds=settings.timing.heartbeat_seconds,
            executors=frozenset(executors),
            unconfirmed_seconds=delivery.unconfirmed_seconds,
        )
        self._changed = asyncio.Event()
        """There is something that an offer tells."""
        self._attempts = Attempts(
            self._session, executors, self._reporter, self._shipper, clock, self._changed.set
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping` is set, drain, and return.

        Raises:
            StopProcess: the services cannot be reached as configured.
            RetryLater: they do not answer.
        """
        await self._transport.start(self._attempts.granted, self.on_control, self._shipper.send_again)
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(self._reporter.run())
                loops = [
                    group.create_task(self._transport.watch()),
                    group.create_task(self._beat()),
                    group.create_task(self._offer()),
                    group.create_task(self._tick()),
                    group.create_task(asyncio.to_thread(remove_all, self._folder.leftovers())),
                ]
                self._shipper.resume()
                self._changed.set()
                self._process.ready()
                await stopping.wait()
                await self._end(telling)
                for loop in loops:
                    loop.cancel()
        finally:
            await self._guards.close()
            await self._transport.close()
            self._journal.close()
            self._spool.close()

    def on_control(self, control: Control) -> None:
        """Obey what the services say of this session's attempts."""
        # An attempt that is ordered to stop was not renewed, and one that is cancelled may not have been.
        ending = {(stop.job_id, stop.attempt) for stop in control.stop}
        kept = {(one.job_id, one.attempt) for one in control.renewed if one.verdict == "ok"} - ending
        self._attempts.renewed(self._session.confirm(control.n, kept))
        for verdict in control.renewed:
            if verdict.verdict == "cancel":
                self._attempts.cancel((verdict.job_id, verdict.attempt), "cancelled")
            elif verdict.verdict == "void":
                self._attempts.void((verdict.job_id, verdict.attempt))
        for stop in control.stop:
            self._attempts.cancel((stop.job_id, stop.attempt), stop.reason)
        if control.settled:
            self._attempts.settled(control.settled)
        if control.stored:
            self._shipper.stored(control.stored)

    async def _end(self, telling: asyncio.Task[None]) -> None:
        delivery = self._settings.delivery
        log.info("draining", running=self._session.running, waiting=self._session.granted)
        draining = asyncio.create_task(
            self._attempts.drain(delivery.drain_seconds, delivery.drain_grace_seconds)
        )
        await asyncio.sleep(0)
        await self._heartbeat(self._session.state)
        await draining
        self._reporter.close()
        await asyncio.wait({telling}, timeout=FAREWELL_SECONDS)
        telling.cancel()
        await self._shipper.flush(FAREWELL_SECONDS)
        await self._heartbeat("OFFLINE")

    async def _beat(self) -> None:
        clock, period = self._process.clock, self._settings.timing.heartbeat_seconds
        while True:
            began = clock.monotonic()
            self._process.beat()
            await self._pulse()
            await asyncio.sleep(max(0.0, began + period - clock.monotonic()))

    async def _pulse(self) -> None:
        self._attempts.give_back_overdue()
        if self._session.look(self._process.clock.monotonic()):
            self._attempts.abandon(self._settings.delivery.unconfirmed_seconds)
        await self._heartbeat(self._session.state)

    async def _heartbeat(self, state: WorkerState) -> None:
        heartbeat = msgspec.structs.replace(
            self._introduction,
            n=self._session.beat(self._process.clock.monotonic()),
            state=state,
            held=self._session.held(),
        )
        try:
            await self._transport.heartbeat(heartbeat)
        except (RetryLater, RejectInput) as error:
            # What runs goes on, fenced by its token; the next heartbeat tells it all again.
            log.warning("heartbeat not delivered", n=heartbeat.n, error=str(error))

    async def _offer(self) -> None:
        who = self._introduction
        while True:
            await self._changed.wait()
            if self._session.has_ended:
                await self._gather()
            # Cleared before looking, so that what comes meanwhile makes the next offer.
            self._changed.clear()
            offer = Offer(
                session_id=who.session_id,
                n=self._session.beats,
                pool=who.pool,
                slots=who.slots,
                name=who.name,  # so that an order about it holds from its first offer on
                state=self._session.state,
                labels=who.labels,
                executors=who.executors,
                ended=self._session.take_ended(),
            )
            try:
                await self._transport.offer(offer)
            except (RetryLater, RejectInput) as error:
                log.warning("offer not delivered, the next heartbeat tells it", error=str(error))

    async def _gather(self) -> None:
        """Wait for more to tell, unless it is pressing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OFFER_SECONDS):
                while not self._session.pressing:
                    self._changed.clear()
                    await self._changed.wait()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._reporter.tick()
            self._shipper.tick()


def introduction(session_id: str, settings: RunnerSettings, folder: str, executors: list[str]) -> Heartbeat:
    """A heartbeat with what never changes: who the runner is, its pool, labels and capacity."""
    offer = settings.offer
    return Heartbeat(
        session_id=session_id,
        n=0,
        name=offer.name or f"{socket.gethostname()}/{folder}",
        pool=offer.pool,
        slots=offer.slots,
        labels=sorted(set(offer.labels)),
        executors=executors,
        capacity=Capacity(
            cpu=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            arch=platform.machine(),
        ),
    )
