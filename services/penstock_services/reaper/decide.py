"""What the reaper decides without touching anything: when it may judge, and what heartbeats mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from penstock.events.workers import Control, Heartbeat, Verdict

GAP_SECONDS = 2.0
"""A pause of the reaper's own loop, of Kafka or of the database that is longer than this is a gap."""


class Watch:
    """Leases are judged only after one TTL without a gap (protocol §4).

    After a gap heartbeats may be waiting unread: whoever seems silent may be alive.
    """

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl_seconds = ttl_seconds
        self._quiet_since: float | None = None
        self._last: float | None = None

    def gap(self) -> None:
        """Something was away, or partitions changed hands."""
        self._quiet_since = None

    def tick(self, monotonic: float) -> bool:
        """Called every scan; whether leases may be judged now."""
        if self._last is not None and monotonic - self._last > GAP_SECONDS:
            self._quiet_since = None
        self._last = monotonic
        if self._quiet_since is None:
            self._quiet_since = monotonic
        return monotonic - self._quiet_since >= self._ttl_seconds


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
    """One `workers.control` record a session: a produce ack is not a renewal, this is."""
    verdicts: dict[str, list[Verdict]] = {}
    for answer in answers:
        verdict = Verdict(answer["job_id"], answer["attempt"], answer["verdict"])
        verdicts.setdefault(answer["session_id"], []).append(verdict)
    return [
        Control(session_id=beat.session_id, n=beat.n, renewed=verdicts.get(beat.session_id, []))
        for beat in heartbeats
    ]


def _job_id(row: dict[str, Any]) -> str:
    return str(row["job_id"])
