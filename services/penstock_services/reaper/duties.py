"""What the reaper does by the clock, part by part; each is safe to repeat and to leave out for a while."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from penstock.events import topics
from penstock.events.envelope import envelope, traceparent
from penstock.events.pipelines import REQUESTED_TYPE
from penstock.kafka import publish
from penstock.kafka.partitioner import partition_for
from penstock.kafka.records import Outgoing, Partition
from penstock.runtime.clock import rfc3339
from penstock.runtime.log import logger
from penstock.runtime.metrics import Metrics
from penstock.store import jobs, logs, migrate, outbox, requests, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock_services.reaper.decide import Breaker, stops
from penstock_services.reaper.settings import ReaperSettings

log = logger(__name__)

DAY_SECONDS: Final = 86_400.0
RECONCILE_SWEEPS: Final = 12
"""What must never be found is looked for less often than what may be lost."""

Ownership = Callable[[], set[Partition]]
"""The heartbeat partitions that this replica owns now."""


class Duty(NamedTuple):
    """One part of a scan; `perform` adds to the changes, and returns records that are no changes."""

    name: str
    seconds: float
    """How often it is due; 0: at every scan."""
    perform: Callable[[Changes, float], list[Outgoing]]
    judges: bool = False
    """It waits until the reaper may judge."""


class Duties:
    """All parts. Every call may raise `RetryLater`."""

    def __init__(
        self, db: Database, settings: ReaperSettings, *, actor: str, owned: Ownership, metrics: Metrics
    ) -> None:
        self._db = db
        self._settings = settings
        self._rows = settings.scan_rows
        self._actor = actor
        self._owned = owned
        self._metrics = metrics
        self._breaker = Breaker(settings.scan_rows)
        self._policy = jobs.Policy(settings.retry.retry_base_seconds, settings.retry.retry_cap_seconds)

    def all(self) -> list[Duty]:
        """In the order in which one scan performs them."""
        sweep = self._settings.timing.sweep_seconds
        return [
            Duty("relay", 0, self._relay),
            Duty("retries", 0, self._retries),
            Duty("queue", 0, self._queue_due, judges=True),
            Duty("timers", 0, self._stop_due, judges=True),
            Duty("leases", 0, self._expire, judges=True),
            Duty("lost work", sweep, self._lost),
            Duty("requests", sweep, self._requests),
            Duty("sessions", sweep, self._sessions),
            Duty("gauges", sweep, self._gauges),
            Duty("open pipelines", sweep * RECONCILE_SWEEPS, self._reconcile),
            Duty("old rows", sweep, self._forget),
            Duty("partitions", self._settings.partition_seconds, self._partitions),
            Duty("unknown logs", self._settings.partition_seconds, self._close_logs),
        ]

    def _expire(self, changes: Changes, _now: float) -> list[Outgoing]:
        """Take back what sessions of this replica's partitions held and no longer renew."""
        mine = self._mine(jobs.expired_sessions(self._db))
        over, leases = jobs.lease_counts(self._db) if mine else (0, 0)
        batch = self._breaker.batch(over, leases)
        if not batch:
            self._metrics.inc("penstock_expiry_breaker_total")
            log.warning("many leases are over at once: they wait", over=over, leases=leases)
        elif mine:
            items = [{**one, "jitter": random.random()} for one in jobs.expired(self._db, mine, batch)]
            taken = jobs.release(
                self._db, changes, items, expired=True, policy=self._policy, actor=self._actor
            )
            self._metrics.inc("penstock_lease_expired_total", len(taken))
        return []

    def _queue_due(self, changes: Changes, _now: float) -> list[Outgoing]:
        jobs.queue_due(self._db, changes, limit=self._rows, actor=self._actor)
        return []

    def _stop_due(self, _changes: Changes, now: float) -> list[Outgoing]:
        """End what ran too long, or did not end after a cancel, on runners of this replica's partitions."""
        mine = self._mine(jobs.due_sessions(self._db))
        stopped = jobs.stop_due(self._db, mine, self._rows) if mine else []
        return [
            publish.control(control.session_id, control, rfc3339(now), self._actor)
            for control in stops(stopped)
        ]

    def _mine(self, sessions: list[str]) -> list[str]:
        owned = {number for _, number in self._owned()}
        count = self._settings.kafka.kafka_partitions
        return [one for one in sessions if partition_for(one, count) in owned]

    def _reconcile(self, changes: Changes, _now: float) -> list[Outgoing]:
        if closed := jobs.reconcile(self._db, changes, limit=self._rows, actor=self._actor):
            self._metrics.inc("penstock_pipelines_reconciled_total", len(closed))
            log.error("pipelines were open with all their jobs ended", pipelines=closed)
        return []

    def _relay(self, changes: Changes, _now: float) -> list[Outgoing]:
        older_than = self._settings.relay_after_seconds
        outbox.relay(self._db, changes, older_than=older_than, limit=self._rows)
        return []

    def _retries(self, changes: Changes, _now: float) -> list[Outgoing]:
        jobs.retry_due(self._db, changes, limit=self._rows, actor=self._actor)
        return []

    def _lost(self, changes: Changes, _now: float) -> list[Outgoing]:
        jobs.lost(self._db, changes, older_than=self._settings.timing.sweep_seconds)
        return []

    def _requests(self, _changes: Changes, now: float) -> list[Outgoing]:
        return [self._request(row, now) for row in requests.unapplied(self._db, self._rows)]

    def _request(self, row: dict[str, str], now: float) -> Outgoing:
        """A request that intake has not applied: its record again, as the gateway wrote it."""
        headers = envelope(
            REQUESTED_TYPE, row["key"], rfc3339(now), traceparent=traceparent(row["pipeline_id"]),
            source=f"/penstock/{self._actor}".encode(),
        )  # fmt: skip
        return Outgoing(topics.PIPELINES_REQUESTED.name, row["tenant"], row["body"].encode(), headers)

    def _sessions(self, _changes: Changes, _now: float) -> list[Outgoing]:
        workers.mark_silent(self._db, ttl_seconds=self._settings.timing.session_ttl_seconds)
        return []

    def _gauges(self, _changes: Changes, _now: float) -> list[Outgoing]:
        self._metrics.set("penstock_outbox_oldest_seconds", outbox.oldest_age(self._db))
        expired, due = jobs.overdue(self._db)
        self._metrics.set("penstock_expired_lease_oldest_seconds", expired)
        self._metrics.set("penstock_due_timer_oldest_seconds", due)
        depths = jobs.queue_depth(self._db)
        self._metrics.clear("penstock_queue_depth")
        self._metrics.clear("penstock_oldest_queued_seconds")
        for pool, lane, depth, age in depths:
            self._metrics.set("penstock_queue_depth", depth, pool=pool, lane=lane)
            self._metrics.set("penstock_oldest_queued_seconds", age, pool=pool, lane=lane)
        return []

    def _forget(self, _changes: Changes, _now: float) -> list[Outgoing]:
        keep_seconds = self._settings.keep_requests_days * DAY_SECONDS
        requests.forget(self._db, older_than=keep_seconds, limit=self._rows)
        return []

    def _close_logs(self, _changes: Changes, _now: float) -> list[Outgoing]:
        if closed := logs.close_unknown(self._db, self._rows):
            log.warning("logs of unknown jobs closed", logs=closed)
        return []

    def _partitions(self, _changes: Changes, _now: float) -> list[Outgoing]:
        migrate.ensure_partitions(self._db)
        if gone := migrate.detach_partitions(self._db, self._settings.keep_weeks):
            log.info("partitions detached", tables=gone)
        return []
