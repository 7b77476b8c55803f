"""What the reaper decides without touching anything: when it may judge, and what heartbeats mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from penstock.core.states import Reason
from penstock.events.workers import Control, Heartbeat, Stop, Verdict

GAP_SECONDS: Final = 2.0
"""A pause of the reaper's own loop, of Kafka or of the database that is longer than this is a gap."""
LARGE_SHARE: Final = 0.5
"""When more of all leases than this are over at once, the fault is rather ours than theirs."""
FEW_LEASES: Final = 100
"""Fewer than so many are no large share: one machine may have held them all."""
FIRST_WAIT_SCANS: Final = 5
"""Time for a heartbeat of each session before the first of many leases is taken back."""
LEAST_BATCH: Final = 8
"""The batch is not halved below this part of it: what is truly lost comes back, too."""


class Watch:
    """Leases are judged only after one TTL without a gap (protocol §4).

    After a gap heartbeats may be waiting unread: whoever seems silent may be alive.
    """

    def __init__(self, ttl_seconds: float, gap_seconds: float = GAP_SECONDS) -> None:
        self._ttl_seconds = ttl_seconds
        self._gap_seconds = gap_seconds
        self._quiet_since: float | None = None
        self._last: float | None = None

    def gap(self) -> None:
        """Something was away, or partitions changed hands."""
        self._quiet_since = None

    def tick(self, monotonic: float) -> bool:
        """Called every scan; whether leases may be judged now."""
        if self._last is not None and monotonic - self._last > self._gap_seconds:
            self._quiet_since = None
        self._last = monotonic
        if self._quiet_since is None:
            self._quiet_since = monotonic
        return monotonic - self._quiet_since >= self._ttl_seconds


class Breaker:
    """Keeps a fault of ours from taking all attempts back at once.

    While an unusually large share of all leases is over, a scan waits, then takes half as many as the last.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._least = max(1, rows // LEAST_BATCH)
        self._batch = rows
        self._wait = FIRST_WAIT_SCANS

    def batch(self, over: int, leases: int) -> int:
        """Called every scan with the leases that are over, and all: how many it may take; 0: it waits."""
        if over < FEW_LEASES or over <= leases * LARGE_SHARE:
            self._batch, self._wait = self._rows, FIRST_WAIT_SCANS
            return self._rows
        if self._wait:
            self._wait -= 1
            return 0
        self._wait = 1
        self._batch = max(self._least, self._batch // 2)
        return self._batch


def newest(heartbeats: Iterable[Heartbeat]) -> list[Heartbeat]:
    """The newest heartbeat of each session, by session: older ones of a batch say nothing more."""
    by_session: dict[str, Heartbeat] = {}
    for heartbeat in heartbeats:
        known = by_session.get(heartbeat.session_id)
        if known is None or known.n < heartbeat.n:
            by_session[heartbeat.session_id] = heartbeat
    return [by_session[session] for session in sorted(by_session)]


def worker_rows(heartbeats: Iterable[Heartbeat]) -> list[dict[str, Any]]:
    """Heartbeats as `renew_v1` takes them."""
    return [
        {
            "session_id": beat.session_id,
            "n": beat.n,
            "kind": "runner",
            "name": beat.name,
            "pool": beat.pool,
            "state": beat.state,
            "slots": beat.slots,
            "capacity": msgspec.to_builtins(beat.capacity),
            "labels": beat.labels,
            "attempts": len(beat.held),
        }
        for beat in heartbeats
    ]


def held_rows(heartbeats: Iterable[Heartbeat]) -> list[dict[str, Any]]:
    """The attempts they hold as `renew_v1` takes them, by job."""
    rows = [
        {
            "session_id": beat.session_id,
            "job_id": held.job_id,
            "attempt": held.attempt,
            "token": held.token,
            "ended": held.phase == "ended",
        }
        for beat in heartbeats
        for held in beat.held
    ]
    return sorted(rows, key=_job_id)


def unstarted(heartbeats: Iterable[Heartbeat], answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Attempts that run, as their runner says, while Postgres still has them ASSIGNED, as `start_v1` takes
    them: their start report was lost or is late.
    """
    phases = {
        (held.job_id, held.attempt): held
        for beat in heartbeats
        for held in beat.held
        if held.phase == "started"
    }
    starts = []
    for answer in answers:
        held = phases.get((answer["job_id"], answer["attempt"]))
        if held is not None and not answer["started"] and answer["verdict"] != "void":
            starts.append({"job_id": held.job_id, "token": held.token})
    return starts


def confirmations(heartbeats: Iterable[Heartbeat], answers: Iterable[dict[str, Any]]) -> list[Control]:
    """One `workers.control` record a session: a produce ack is not a renewal, this is.

    It repeats the order to stop what ran too long; a lost cancel is repeated by its verdict.
    """
    verdicts: dict[str, list[Verdict]] = {}
    overrun: dict[str, list[Stop]] = {}
    for answer in answers:
        if answer["verdict"] == "ok" and not answer["started"]:
            continue  # not renewed: it waits for start_v1, and another process may have done that long ago
        verdict = Verdict(answer["job_id"], answer["attempt"], answer["verdict"])
        verdicts.setdefault(answer["session_id"], []).append(verdict)
        if answer["ending"] == "run-timeout":
            overrun.setdefault(answer["session_id"], []).append(_stop(answer, "run-timeout"))
    return [
        Control(
            session_id=beat.session_id,
            n=beat.n,
            renewed=verdicts.get(beat.session_id, []),
            stop=overrun.get(beat.session_id, []),
        )
        for beat in heartbeats
    ]


def stops(rows: Iterable[dict[str, Any]]) -> list[Control]:
    """What `stop_due_v1` answers as one order a session."""
    by_session: dict[str, list[Stop]] = {}
    for row in rows:
        by_session.setdefault(row["session_id"], []).append(_stop(row, row["reason"]))
    return [Control(session_id=session, stop=by_session[session]) for session in sorted(by_session)]


def _stop(row: dict[str, Any], reason: Reason) -> Stop:
    return Stop(row["job_id"], row["attempt"], reason)


def _job_id(row: dict[str, Any]) -> str:
    return str(row["job_id"])
