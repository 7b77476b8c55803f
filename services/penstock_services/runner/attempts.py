"""Carries out what the `Session` decides: starts, stops and ends attempts, and tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from penstock.core.states import Reason
from penstock.definition.model import DEFAULT_EXECUTOR, DEFAULT_GRACE_SECONDS, DEFAULT_TIMEOUT_SECONDS
from penstock.events.jobs import Grant, Report
from penstock.events.workers import Grants, Settled
from penstock.runtime.clock import Clock
from penstock.runtime.log import logger
from penstock_services.runner.executors import AnyExecutor, Executor, ImmediateExecutor, Output, Result
from penstock_services.runner.reporting import Reporter
from penstock_services.runner.session import Key, Seat, Session, seconds_of
from penstock_services.runner.shipping import LogShipper

INFRA_ERROR: Final = Result(success=False, reason="infra-error")
UNCONFIRMED_TEXT: Final = (
    b"penstock: this runner had no answer for %d s and stops the job, to be run elsewhere\n"
)

log = logger(__name__)


class _Active:
    """An attempt that runs in the background."""

    __slots__ = ("executing", "executor", "output", "reason", "seat", "task", "timer")

    def __init__(self, seat: Seat, executor: Executor) -> None:
        self.seat = seat
        self.executor = executor
        self.reason: Reason | None = None
        """Why it was told to stop; the first order counts."""
        self.executing = False
        """The executor has it; before its task's first turn there is nothing to stop."""
        self.output: Output | None = None
        """Its log, once the executor has it."""
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class Attempts:
    """The attempts of a session. Everything happens in the event loop's thread."""

    def __init__(
        self,
        session: Session,
        executors: Mapping[str, AnyExecutor],
        reporter: Reporter,
        shipper: LogShipper,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """`on_change` is called when there is something new for an offer to tell."""
        self._session = session
        self._reporter = reporter
        self._shipper = shipper
        self._clock = clock
        self._on_change = on_change
        self._active: dict[Key, _Active] = {}
        self._immediate: dict[str, Callable[[Grant], Result]] = {}
        self._background: dict[str, Executor] = {}
        for name, executor in executors.items():
            if isinstance(executor, ImmediateExecutor):
                self._immediate[name] = executor.run_now
            else:
                self._background[name] = executor

    def granted(self, grants: Grants) -> None:
        """Dispatchers gave these to this session: start them, keep them for later, or give them back."""
        self._give_back(self._session.accept(grants.n, grants.grants, self._clock.monotonic()))
        self._start()
        if self._session.has_ended:
            self._on_change()

    def give_back_overdue(self) -> None:
        """Give back what has waited for a slot for so long that its lease may end before its start."""
        overdue = self._session.overdue(self._clock.monotonic())
        if overdue:
            log.warning("granted attempts given back unstarted", count=len(overdue))
            self._give_back(overdue)
            self._on_change()

    def cancel(self, key: Key, reason: Reason) -> None:
        """Stop an attempt; its end is reported once all of it is dead."""
        seat = self._session.seat(key)
        if seat is not None and seat.phase == "granted":
            self._session.withdraw(seat)
            self._report(seat, "ended", success=False, started_here=False, reason=reason)
            self._on_change()
        elif active := self._active.get(key):
            self._stop(active, reason, seconds_of(active.seat.grant, "grace", DEFAULT_GRACE_SECONDS))

    def renewed(self, seats: Iterable[Seat]) -> None:
        """The leases of these exclusive attempts were renewed: they may run for longer."""
        for seat in seats:
            if (active := self._active.get(seat.key)) and (until := seat.until) is not None:
                active.executor.allow(seat.grant, until)

    def void(self, key: Key) -> None:
        """The attempt was given away: kill it at once and say nothing more of it."""
        seat = self._session.seat(key)
        if seat is not None and seat.phase == "granted":
            self._session.withdraw(seat)
            self._on_change()
        elif active := self._active.get(key):
            active.seat.voided = True
            self._stop(active, "worker-lost", 0)

    def settled(self, settled: list[Settled]) -> None:
        """Reports were decided. A start that was refused is the start of an attempt given away."""
        self._reporter.settled(settled)
        for item in settled:
            if item.kind == "ended":
                self._session.settle((item.job_id, item.attempt))
            elif item.kind == "started" and not item.accepted:
                self.void((item.job_id, item.attempt))

    def abandon(self, seconds: float) -> None:
        """Stop what runs: the services have not confirmed this session for so many seconds.

        Where an attempt was not given away meanwhile, its report gets the job run again.
        """
        alone = [active for active in self._active.values() if active.reason is None]
        if not alone:
            return
        log.error("no heartbeat was confirmed: attempts are stopped", seconds=seconds, attempts=len(alone))
        for active in alone:
            if active.output is not None:
                active.output.write("stderr", UNCONFIRMED_TEXT % seconds)
            self._stop(active, "worker-lost", seconds_of(active.seat.grant, "grace", DEFAULT_GRACE_SECONDS))

    async def drain(self, seconds: float, grace: float) -> None:
        """Start nothing more, let what runs go on for so long, then stop it so that it is run elsewhere."""
        self._give_back(self._session.drain())
        self._on_change()
        await self._until_ended(seconds)
        for active in list(self._active.values()):
            own = seconds_of(active.seat.grant, "grace", DEFAULT_GRACE_SECONDS)
            self._stop(active, "worker-lost", min(grace, own))
        await self._until_ended(None)

    async def _until_ended(self, seconds: float | None) -> None:
        tasks = [active.task for active in self._active.values() if active.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _start(self) -> None:
        self.give_back_overdue()
        now = self._clock.monotonic()
        while (seat := self._session.start(now)) is not None:
            name = seat.grant.spec.get("executor", DEFAULT_EXECUTOR)
            run_now = self._immediate.get(name)
            if run_now is not None:
                try:
                    result = run_now(seat.grant)
                except Exception:  # a plug-in's fault ends its attempt, never the runner
                    log.exception("executor failed", executor=name, job_id=seat.grant.job_id)
                    result = INFRA_ERROR
                self._end(seat, result)
            else:
                self._run_in_background(seat, self._background[name])

    def _run_in_background(self, seat: Seat, executor: Executor) -> None:
        active = self._active[seat.key] = _Active(seat, executor)
        loop = asyncio.get_running_loop()
        grace = seconds_of(seat.grant, "grace", DEFAULT_GRACE_SECONDS)
        timeout = seconds_of(seat.grant, "timeout", DEFAULT_TIMEOUT_SECONDS)
        active.timer = loop.call_later(timeout, self._stop, active, "run-timeout", grace)
        active.task = loop.create_task(self._run(active))

    async def _run(self, active: _Active) -> None:
        seat = active.seat
        if active.reason is None:
            await self._execute(active)
        else:
            self._end(seat, Result(success=False, reason=active.reason), started_here=False)
        if active.timer is not None:
            active.timer.cancel()
        del self._active[seat.key]
        self._start()
        self._on_change()

    async def _execute(self, active: _Active) -> None:
        seat = active.seat
        self._report(seat, "started")
        output = self._shipper.open(seat.grant, lambda: self._stop(active, "infra-error", 0))
        active.output = output
        active.executing = True
        try:
            if (until := seat.until) is not None:
                active.executor.allow(seat.grant, until)
            result = await active.executor.run(seat.grant, output)
        except Exception as error:  # a plug-in's fault ends its attempt, never the runner
            log.exception("executor failed", job_id=seat.grant.job_id, attempt=seat.grant.attempt)
            output.write("stderr", f"penstock: the runner could not run this job: {error}\n".encode())
            result = INFRA_ERROR
        if result.stopped and active.reason is not None:
            result = Result(
                success=False, exit_code=result.exit_code, reason=active.reason, limited=result.limited
            )
        self._end(seat, result, last_seq=output.close())

    def _stop(self, active: _Active, reason: Reason, grace: float) -> None:
        active.reason = active.reason or reason
        if active.executing:
            active.executor.stop(active.seat.grant, grace)

    def _end(self, seat: Seat, result: Result, *, started_here: bool = True, last_seq: int = 0) -> None:
        duration_ms = self._session.end(seat, self._clock.monotonic())
        if not seat.voided:
            self._report(
                seat,
                "ended",
                success=result.success,
                started_here=started_here,
                exit_code=result.exit_code,
                reason=result.reason,
                duration_ms=duration_ms,
                last_seq=last_seq,
                limited=list(result.limited),
            )

    def _give_back(self, grants: list[Grant]) -> None:
        for grant in grants:
            report = Report(grant.job_id, grant.attempt, grant.token, "released", started_here=False)
            self._reporter.add(grant.pipeline_id, report)

    def _report(self, seat: Seat, kind: Any, **more: Any) -> None:
        grant = seat.grant
        self._reporter.add(grant.pipeline_id, Report(grant.job_id, grant.attempt, grant.token, kind, **more))
