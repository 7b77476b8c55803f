"""What a runner session knows of its slots and attempts: pure decisions, the time is an argument.

An attempt is granted, started, ended and settled, in this order, and is forgotten then. The runner is the
final judge of its slots: what it cannot start soon it gives back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

from penstock.definition.model import DEFAULT_EXECUTOR, DEFAULT_GRACE_SECONDS
from penstock.events.jobs import Grant
from penstock.events.workers import Ended, Held, Phase, WorkerState
from penstock.runtime.settings import EXCLUSIVE_RESERVE_SECONDS

Key = tuple[str, int]
"""Job id and attempt."""

FRESH_HEARTBEATS: Final = 2.0
"""A grant that answers an older heartbeat is not accepted (protocol §3)."""
START_HEARTBEATS: Final = 2.5
"""A grant is not started any more, so that its lease of three heartbeats cannot end before its start."""
UNCONFIRMED_SECONDS: Final = 600.0
"""What runs goes on without a confirmed heartbeat, but not for ever (protocol §4)."""
MAX_HELD: Final = 10_000
"""Attempts that a heartbeat may list. Only unsettled ends can come near it; then no more is accepted."""
REFUSED: Final = -1
"""The duration told of an attempt that never took a slot."""


class Seat:
    """An attempt that this session holds."""

    __slots__ = ("answers", "grant", "held_since", "key", "leased_at", "phase", "started_at", "voided")

    def __init__(self, grant: Grant, answers: float) -> None:
        self.grant = grant
        self.key: Key = (grant.job_id, grant.attempt)
        self.answers = answers
        """When the heartbeat that it answers was sent."""
        self.leased_at = answers
        """Its lease began no earlier than this: the sending of the newest heartbeat that renewed it."""
        self.held_since = 0
        """Heartbeats after this one tell that it started: only these can renew it."""
        self.phase: Phase = "granted"
        self.started_at = 0.0
        self.voided = False
        """Given away meanwhile: it is being killed, and nothing is reported of it."""

    @property
    def until(self) -> float | None:
        """When an exclusive attempt must be stopped, to be dead before its lease ends (protocol §4)."""
        lease = self.grant.lease
        if lease is None:
            return None
        grace = seconds_of(self.grant, "grace", DEFAULT_GRACE_SECONDS)
        return self.leased_at + lease - grace - EXCLUSIVE_RESERVE_SECONDS


class Session:
    """Slots, the queue of granted attempts, and what has to be told of them."""

    def __init__(
        self,
        session_id: str,
        *,
        slots: int,
        look_ahead: int,
        heartbeat_seconds: float,
        executors: Collection[str],
        unconfirmed_seconds: float = UNCONFIRMED_SECONDS,
    ) -> None:
        self.session_id = session_id
        self.slots = slots
        self.executors = executors
        self.draining = False
        self.cut_off = False
        """No heartbeat was confirmed for too long: nothing is accepted."""
        self.beats = 0
        """Number of the newest heartbeat."""
        self._bound = slots + look_ahead if slots else 0  # one without slots only supervises
        self._fresh = FRESH_HEARTBEATS * heartbeat_seconds
        self._start_by = START_HEARTBEATS * heartbeat_seconds
        self._unconfirmed = unconfirmed_seconds
        self._asked_of_late = max(unconfirmed_seconds / 2, 2 * self._fresh)
        self._sent: dict[int, float] = {}
        """When each heartbeat was sent that grants or a confirmation may still answer."""
        self._confirmed_at: float | None = None
        """When the newest confirmed heartbeat was sent; before there is one, when the first was."""
        self._seats: dict[Key, Seat] = {}
        self._queue: deque[Seat] = deque()
        """Granted seats, the oldest first; those voided meanwhile are skipped."""
        self._granted = 0
        self._running = 0
        self._ended: list[Ended] = []
        self.pressing = False
        """An attempt left while no slot was free, and too few wait here to fill all of them once more: a
        dispatcher may be waiting for just this news."""
        # A repeat of an older grant is not fresh, so what was seen is remembered for that long only.
        self._seen: set[Key] = set()
        self._seen_before: set[Key] = set()
        self._seen_since = 0.0

    @property
    def state(self) -> WorkerState:
        """What the session is doing, as heartbeats tell it."""
        if self.draining or self.cut_off:
            return "DRAINING"
        return "BUSY" if self._running or self._granted else "IDLE"

    @property
    def running(self) -> int:
        """Slots that are taken."""
        return self._running

    @property
    def granted(self) -> int:
        """Attempts that wait for a slot."""
        return self._granted

    def seat(self, key: Key) -> Seat | None:
        """The attempt, while it is held."""
        return self._seats.get(key)

    def seats(self) -> list[Seat]:
        """All attempts held."""
        return list(self._seats.values())

    def beat(self, now: float) -> int:
        """A heartbeat is sent now; its number."""
        self.beats += 1
        self._sent[self.beats] = now
        if self._confirmed_at is None:
            self._confirmed_at = now
        while now - self._sent[oldest := next(iter(self._sent))] > self._unconfirmed:
            del self._sent[oldest]
        if now - self._seen_since > self._fresh:
            self._seen_before, self._seen, self._seen_since = self._seen, set(), now
        return self.beats

    def confirm(self, n: int, renewed: Iterable[Key] = ()) -> list[Seat]:
        """The services answered heartbeat `n` and renewed these leases.

        Returns the exclusive attempts that may run for longer than before.
        """
        sent = self._sent.get(n)
        if sent is None or self._confirmed_at is None:
            return []
        self._confirmed_at = max(self._confirmed_at, sent)
        longer: list[Seat] = []
        for key in renewed:
            seat = self._seats.get(key)
            if seat is None or seat.grant.lease is None or seat.phase != "started":
                continue
            if n > seat.held_since and sent > seat.leased_at:
                seat.leased_at = sent
                longer.append(seat)
        return longer

    def look(self, now: float) -> bool:
        """See whether the session is cut off now; then what runs here must be held for lost (protocol §4).

        A machine that slept, and whose clock says so, is no evidence: of late a heartbeat must have been sent
        that had time to be answered.
        """
        self.cut_off = (
            self._confirmed_at is not None
            and now - self._confirmed_at > self._unconfirmed
            and any(self._fresh <= now - sent <= self._asked_of_late for sent in self._sent.values())
        )
        return self.cut_off

    def held(self) -> list[Held]:
        """The attempts for a heartbeat; those given away are this session's no more."""
        return [
            Held(seat.grant.job_id, seat.grant.attempt, seat.grant.token, seat.phase)
            for seat in self._seats.values()
            if not seat.voided
        ]

    @property
    def has_ended(self) -> bool:
        """Whether attempts left their slots that no offer told of."""
        return bool(self._ended)

    def take_ended(self) -> list[Ended]:
        """The attempts that left their slots since the last call."""
        ended, self._ended = self._ended, []
        self.pressing = False
        return ended

    def accept(self, n: int, grants: Iterable[Grant], now: float) -> list[Grant]:
        """Queue what is granted in answer to heartbeat `n`; returns what must be given back.

        A grant seen before is dropped: its first copy is on its way.
        """
        answers = self._sent.get(n)
        welcome = answers is not None and now - answers <= self._fresh and self.state != "DRAINING"
        refused: list[Grant] = []
        for grant in grants:
            key = (grant.job_id, grant.attempt)
            if key in self._seen or key in self._seen_before or key in self._seats:
                continue
            self._seen.add(key)
            if not welcome or self._is_full() or _executor(grant) not in self.executors:
                refused.append(grant)
                self._tell(grant, REFUSED)
                continue
            assert answers is not None
            seat = Seat(grant, answers)
            self._seats[key] = seat
            self._queue.append(seat)
            self._granted += 1
        return refused

    def start(self, now: float) -> Seat | None:
        """The attempt that starts now, if any waits and a slot is free: it takes the slot."""
        while self._queue and self._running < self.slots:
            seat = self._queue.popleft()
            if seat.phase != "granted":
                continue
            seat.phase = "started"
            seat.started_at = now
            seat.held_since = self.beats
            self._granted -= 1
            self._running += 1
            return seat
        return None

    def overdue(self, now: float) -> list[Grant]:
        """Take out of the queue what waited too long to be started: it must be given back."""
        limit = now - self._start_by
        overdue: list[Grant] = []
        while self._queue and (self._queue[0].phase != "granted" or self._queue[0].answers < limit):
            seat = self._queue.popleft()
            if seat.phase == "granted":
                self._leave(seat)
                overdue.append(seat.grant)
        return overdue

    def drain(self) -> list[Grant]:
        """Start nothing any more; returns what waited for a slot and must be given back."""
        self.draining = True
        waiting = [seat for seat in self._queue if seat.phase == "granted"]
        self._queue.clear()
        for seat in waiting:
            self._leave(seat)
        return [seat.grant for seat in waiting]

    def withdraw(self, seat: Seat) -> None:
        """Forget an attempt that waits for a slot: it was cancelled or given away."""
        assert seat.phase == "granted"
        self._leave(seat)

    def end(self, seat: Seat, now: float) -> int:
        """A started attempt ended and frees its slot; it is held until `settle`. Its milliseconds."""
        duration_ms = round((now - seat.started_at) * 1000)
        seat.phase = "ended"
        self._tell(seat.grant, duration_ms)
        self._running -= 1
        if seat.voided:
            del self._seats[seat.key]
        return duration_ms

    def settle(self, key: Key) -> None:
        """The report of its end was decided: it is held no more."""
        seat = self._seats.get(key)
        if seat is not None and seat.phase == "ended":
            del self._seats[key]

    def _is_full(self) -> bool:
        return self._granted + self._running >= self._bound or len(self._seats) >= MAX_HELD

    def _leave(self, seat: Seat) -> None:
        seat.phase = "ended"  # so that the queue skips it
        self._tell(seat.grant, REFUSED)
        self._granted -= 1
        del self._seats[seat.key]

    def _tell(self, grant: Grant, duration_ms: int) -> None:
        """Note for the next offer that an attempt left; it still counts as held at this moment."""
        self._ended.append(Ended(grant.job_id, grant.attempt, duration_ms))
        full = self._granted + self._running >= self.slots
        self.pressing = self.pressing or (full and self._granted < self.slots)


def seconds_of(grant: Grant, name: str, default: float) -> float:
    """A duration of the job's spec; what has its default is left out there."""
    value = grant.spec.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def _executor(grant: Grant) -> str:
    name: str = grant.spec.get("executor", DEFAULT_EXECUTOR)
    return name
