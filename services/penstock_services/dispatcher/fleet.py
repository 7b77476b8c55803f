"""The runners as far as heartbeats and offers tell: who is there, what it can, what it holds.

Both are level-triggered. An offer says what changed, a heartbeat says everything: it mends whatever a lost or
repeated offer left wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from penstock.events.workers import Ended, Heartbeat, Offer, WorkerState

Attempt = tuple[str, int]
"""Job and attempt number."""
Kind = tuple[str, str, str]
"""Tenant, pool and executor: jobs of a kind are taken to last about as long."""

FORGET_BEATS = 3
"""A grant that no heartbeat so much later shows was dropped by its runner, or never reached it."""
WEIGHT = 0.2
"""Of a newly measured duration in the running mean."""


class Runner:
    """One worker session."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.pool = ""
        self.slots = 0
        self.labels: frozenset[str] = frozenset()
        self.executors: frozenset[str] = frozenset()
        self.state: WorkerState = "IDLE"
        self.n = 0
        """Newest heartbeat or offer number heard; a grant echoes it."""
        self.heard_at = -math.inf
        """Monotonic time at which it was last heard."""
        self.holds: dict[Attempt, tuple[int, Kind | None]] = {}
        """Attempts that take a slot or wait for one, and the number echoed when they were granted."""
        self.ended: dict[Attempt, int] = {}
        """Attempts that an offer ended, until a heartbeat younger than it has come."""
        self.running: frozenset[Attempt] = frozenset()
        """Attempts that were running at the last heartbeat."""

    def fits(self, executor: str, labels: Iterable[str]) -> bool:
        """Whether it can run such a job."""
        return executor in self.executors and self.labels.issuperset(labels)


class Fleet:
    """All sessions heard of. Times are monotonic seconds."""

    def __init__(self, silent_seconds: float) -> None:
        self._silent_seconds = silent_seconds
        self._runners: dict[str, Runner] = {}
        self.durations: dict[Kind, float] = {}
        """Mean duration in seconds of the jobs of a kind."""

    def heartbeat(self, beat: Heartbeat, monotonic: float) -> None:
        """Take in the whole truth about a session as of its heartbeat."""
        runner = self._hear(beat, monotonic)
        if runner is None:
            return
        holds: dict[Attempt, tuple[int, Kind | None]] = {
            attempt: granted
            for attempt, granted in runner.holds.items()
            if granted[0] > beat.n - FORGET_BEATS
        }
        for held in beat.held:
            attempt = (held.job_id, held.attempt)
            if held.phase == "ended" or attempt in runner.ended:
                holds.pop(attempt, None)
            else:
                holds[attempt] = runner.holds.get(attempt, (beat.n, None))
        runner.holds = holds
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
            _, kind = runner.holds.pop(attempt, (0, None))
            self._measure(kind, ended)

    def grant(self, session_id: str, attempt: Attempt, kind: Kind) -> None:
        """An attempt was granted."""
        runner = self._runners[session_id]
        runner.holds[attempt] = (runner.n, kind)

    def assume(self, held: dict[str, list[Attempt]]) -> None:
        """Leases as Postgres has them, for a dispatcher that just took a pool over."""
        for session_id, attempts in held.items():
            runner = self._runners.get(session_id)
            if runner is not None:
                for attempt in attempts:
                    runner.holds.setdefault(attempt, (runner.n, None))

    def of_pool(self, pool: str, monotonic: float) -> list[Runner]:
        """Sessions of a pool that take jobs and were heard of lately."""
        return [
            runner
            for runner in self._runners.values()
            if runner.pool == pool
            and runner.state in ("IDLE", "BUSY")
            and monotonic - runner.heard_at <= self._silent_seconds
        ]

    def forget_silent(self, monotonic: float) -> None:
        """Drop sessions that were silent for ten times as long as is needed to be passed over."""
        silent = [
            session
            for session, runner in self._runners.items()
            if monotonic - runner.heard_at > 10 * self._silent_seconds
        ]
        for session in silent:
            del self._runners[session]

    def _hear(self, news: Heartbeat | Offer, monotonic: float) -> Runner | None:
        runner = self._runners.setdefault(news.session_id, Runner(news.session_id))
        if news.n < runner.n:
            return None
        runner.n = news.n
        runner.heard_at = max(runner.heard_at, monotonic)
        runner.pool = news.pool
        runner.slots = news.slots
        runner.state = news.state
        runner.labels = frozenset(news.labels)
        runner.executors = frozenset(news.executors)
        return runner

    def _lengthen(self, runner: Runner, beat: Heartbeat) -> None:
        """What runs for a whole heartbeat is not short, whatever its kind was before."""
        running = frozenset((held.job_id, held.attempt) for held in beat.held if held.phase == "started")
        for attempt in running & runner.running:
            _, kind = runner.holds.get(attempt, (0, None))
            if kind is not None:
                self.durations[kind] = max(self.durations.get(kind, 0.0), self._silent_seconds)
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
