"""The runners as far as heartbeats and offers tell: who is there, what it can, what it holds.

Both are level-triggered. An offer says what changed, a heartbeat says everything: it mends whatever a lost or
repeated offer left wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock.events.workers import Ended, Heartbeat, Offer
from penstock_services.dispatcher.ready import Shape
from penstock_services.dispatcher.runners import Attempt, Kind, Load, Pool, Runner

FORGET_BEATS = 3
"""A grant that no heartbeat so much later shows was dropped by its runner, or never reached it."""
WEIGHT = 0.2
"""Of a newly measured duration in the running mean."""


class Lease(NamedTuple):
    """A living attempt as Postgres has it."""

    session_id: str
    attempt: Attempt
    load: Load


class Fleet:
    """All sessions heard of. Times are monotonic seconds."""

    def __init__(self, silent_seconds: float) -> None:
        self.silent_seconds = silent_seconds
        """Who was not heard of for so long gets no job."""
        self._runners: dict[str, Runner] = {}
        self._pools: dict[str, Pool] = {}
        self.durations: dict[Kind, float] = {}
        """Mean duration in seconds of the jobs of a kind."""

    def heartbeat(self, beat: Heartbeat, monotonic: float) -> None:
        """Take in the whole truth about a session as of its heartbeat."""
        runner = self._hear(beat, monotonic)
        if runner is None:
            return
        held = {(one.job_id, one.attempt): one.phase for one in beat.held}
        for attempt, load in list(runner.holds.items()):
            if held.get(attempt) == "ended" or (attempt not in held and load.n <= beat.n - FORGET_BEATS):
                runner.drop(attempt, monotonic)
        for attempt, phase in held.items():
            if phase != "ended" and attempt not in runner.ended and attempt not in runner.holds:
                runner.take(attempt, Load(beat.n), monotonic)
        self._lengthen(runner, beat)
        runner.ended = {attempt: n for attempt, n in runner.ended.items() if n >= beat.n}

    def offer(self, offer: Offer, monotonic: float) -> None:
        """Take in what changed."""
        runner = self._hear(offer, monotonic)
        if runner is None:
            return
        for ended in offer.ended:
            attempt = (ended.job_id, ended.attempt)
            runner.ended[attempt] = offer.n
            load = runner.drop(attempt, monotonic)
            if load is not None:
                self._measure(load.kind, ended)

    def grant(self, session_id: str, attempt: Attempt, kind: Kind, shape: Shape, monotonic: float) -> None:
        """An attempt was granted."""
        runner = self._runners[session_id]
        load = Load(runner.n, kind, shape.cpu, shape.memory, shape.slots)
        runner.take(attempt, load, monotonic)
        runner.pool.let_go(attempt[0])

    def assume(self, leases: Iterable[Lease], monotonic: float) -> None:
        """Leases as Postgres has them, for a dispatcher that just took a pool over."""
        for lease in leases:
            runner = self._runners.get(lease.session_id)
            if runner is not None and lease.attempt not in runner.ended:
                runner.drop(lease.attempt, monotonic)
                runner.take(lease.attempt, lease.load._replace(n=runner.n), monotonic)

    def pool(self, name: str) -> Pool:
        """A pool, also one that nobody is in."""
        return self._pools.setdefault(name, Pool(name))

    def forget_silent(self, monotonic: float) -> None:
        """Drop sessions that were silent for ten times as long as is needed to be passed over."""
        silent = [
            runner
            for runner in self._runners.values()
            if monotonic - runner.heard_at > 10 * self.silent_seconds
        ]
        for runner in silent:
            del self._runners[runner.session_id]
            runner.leave(monotonic)
        for pool in self._pools.values():
            pool.forget_idle(monotonic)

    def _hear(self, news: Heartbeat | Offer, monotonic: float) -> Runner | None:
        runner = self._runners.get(news.session_id)
        if runner is None:
            runner = self._runners[news.session_id] = Runner(news.session_id, self.pool(news.pool))
        if news.n < runner.n:
            return None
        runner.n = news.n
        runner.heard_at = max(runner.heard_at, monotonic)
        if runner.pool.name != news.pool:
            runner.move(self.pool(news.pool), monotonic)
        runner.tell(news)
        return runner

    def _lengthen(self, runner: Runner, beat: Heartbeat) -> None:
        """What runs for a whole heartbeat is not short, whatever its kind was before."""
        running = frozenset((held.job_id, held.attempt) for held in beat.held if held.phase == "started")
        for attempt in running & runner.running:
            load = runner.holds.get(attempt)
            if load is not None and load.kind is not None:
                self.durations[load.kind] = max(self.durations.get(load.kind, 0.0), self.silent_seconds)
        runner.running = running

    def _measure(self, kind: Kind | None, ended: Ended) -> None:
        if kind is None:
            return
        if ended.duration_ms < 0:
            self.durations.pop(kind, None)  # Given back for want of room: no more of it ahead of free slots.
            return
        seconds = ended.duration_ms / 1000
        known = self.durations.get(kind)
        self.durations[kind] = seconds if known is None else known + WEIGHT * (seconds - known)
