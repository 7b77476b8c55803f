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
        self._late: dict[str, list[Lease]] = {}
        """Of sessions that were not heard of yet."""

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
        """Leases as Postgres has them, for a dispatcher that took a pool over; those of sessions that it has
        not heard of yet are kept until it does.
        """
        self._late = {}
        for lease in leases:
            runner = self._runners.get(lease.session_id)
            if runner is not None:
                self._assume(runner, lease, monotonic)
            else:
                self._late.setdefault(lease.session_id, []).append(lease)

    def amend(self, leases: Iterable[Lease], monotonic: float) -> None:
        """Learn size and kind of what is `unknown` from leases as Postgres has them."""
        unknown = self.unknown()
        for lease in leases:
            if lease.attempt in unknown and (runner := self._runners.get(lease.session_id)) is not None:
                self._assume(runner, lease, monotonic)

    def unknown(self) -> set[Attempt]:
        """Attempts of which nothing but their place is known: only a heartbeat told of them."""
        return {
            attempt
            for runner in self._runners.values()
            for attempt, load in runner.holds.items()
            if load.kind is None
        }

    def _assume(self, runner: Runner, lease: Lease, monotonic: float) -> None:
        if lease.attempt not in runner.ended:
            runner.take(lease.attempt, lease.load._replace(n=runner.n), monotonic)

    def pool(self, name: str) -> Pool:
        """A pool, also one that nobody is in."""
        found = self._pools.get(name)
        if found is None:
            found = self._pools[name] = Pool(name)
        return found

    def forget_silent(self, monotonic: float) -> None:
        """Drop sessions that were silent for ten times as long as is needed to be passed over, and what
        nobody needs any more of those who used pools.
        """
        silent = [
            runner
            for runner in self._runners.values()
            if monotonic - runner.heard_at > 10 * self.silent_seconds
        ]
        for runner in silent:
            del self._runners[runner.session_id]
            runner.leave(monotonic)
        for pool in list(self._pools.values()):
            pool.forget_idle(monotonic)
            if pool.is_idle():
                del self._pools[pool.name]
        for kind in [kind for kind in self.durations if not self._is_used(kind)]:
            del self.durations[kind]

    def _is_used(self, kind: Kind) -> bool:
        tenant, pool, _ = kind
        return pool in self._pools and self._pools[pool].knows(tenant)

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
        for lease in self._late.pop(news.session_id, ()):
            self._assume(runner, lease, monotonic)
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
