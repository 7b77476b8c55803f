"""Steps and scans of the reaper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.core.errors import DeadLetter, RetryLater
from penstock.events import topics
from penstock.events import workers as worker_events
from penstock.events.envelope import envelope, traceparent
from penstock.events.pipelines import REQUESTED_TYPE
from penstock.kafka import publish
from penstock.kafka.batches import Dead, Outcome
from penstock.kafka.partitioner import partition_for
from penstock.kafka.records import Outgoing, Partition, Record
from penstock.runtime.clock import Clock, rfc3339
from penstock.runtime.log import logger
from penstock.runtime.metrics import Metrics
from penstock.store import jobs, migrate, outbox, requests, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock_services.reaper import decide
from penstock_services.reaper.settings import ReaperSettings

log = logger(__name__)

Ownership = Callable[[], set[Partition]]
"""The heartbeat partitions that this replica owns now."""


class Reaper:
    """Renews on heartbeats; expires, retries, relays and sweeps by the clock."""

    def __init__(
        self,
        db: Database,
        settings: ReaperSettings,
        *,
        actor: str,
        owned: Ownership,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._db = db
        self._settings = settings
        self._actor = actor
        self._owned = owned
        self._clock = clock
        self._metrics = metrics
        self._policy = jobs.Policy(settings.retry.retry_base_seconds, settings.retry.retry_cap_seconds)
        self._watch = decide.Watch(settings.timing.session_ttl_seconds)
        self._acks = outbox.Acks()
        self._next_sweep = 0.0
        self._next_partitions = 0.0

    def rebalanced(self, _partitions: set[Partition]) -> None:
        """Heartbeats of new partitions were not followed so far: judge nobody for one TTL."""
        self._watch.gap()

    def step(self, batch: Sequence[Record], now: float) -> Outcome:
        """A batch of heartbeats: renew, note starts whose report was lost, confirm."""
        beats: list[worker_events.Heartbeat] = []
        dead: list[Dead] = []
        for record in batch:
            try:
                beats.append(worker_events.heartbeat.decode(record.value))
            except DeadLetter as error:
                dead.append(Dead(record, str(error), type(error).__name__))
        beats = decide.newest(beats)
        ttl = self._settings.timing.session_ttl_seconds
        answers = workers.renew(self._db, decide.worker_rows(beats), decide.held_rows(beats), ttl_seconds=ttl)
        changes = Changes()
        if starts := decide.unstarted(beats, answers):
            jobs.start(self._db, changes, starts, ttl_seconds=ttl, actor=self._actor)
        at = rfc3339(now)
        records = publish.records(changes, self._actor)
        for control in decide.confirmations(beats, answers):
            records.append(publish.control(control.session_id, control, at, self._actor))
        return Outcome(records, lambda: self._acks.add(changes.outbox_ids), dead)

    def tick(self, now: float) -> Outcome:
        """One scan: what is due by the database clock, and every so often the sweeps."""
        try:
            return self._scan(now)
        except RetryLater:
            self._watch.gap()
            raise

    def _scan(self, now: float) -> Outcome:
        changes = outbox.relay(
            self._db, older_than=self._settings.relay_after_seconds, limit=self._settings.scan_rows
        )
        jobs.retry_due(self._db, changes, limit=self._settings.scan_rows, actor=self._actor)
        if self._watch.tick(self._clock.monotonic()):
            self._expire(changes)
        again: list[Outgoing] = []
        if now >= self._next_sweep:
            self._next_sweep = now + self._settings.timing.sweep_seconds
            again = self._sweep(changes, now)
        if now >= self._next_partitions:
            self._next_partitions = now + self._settings.partition_seconds
            migrate.ensure_partitions(self._db)
            if gone := migrate.detach_partitions(self._db, self._settings.keep_weeks):
                log.info("partitions detached", tables=gone)
        self._acks.flush(self._db)
        records = publish.records(changes, self._actor)
        records += publish.undecided_hints(changes.undecided, rfc3339(now), self._actor)
        # While the broker is away this record holds the loop up: an outage is a gap, not a silent fleet.
        probe = Outgoing(topics.WARMUP.name, None, None, [])
        return Outcome([*records, *again, probe], lambda: self._acks.add(changes.outbox_ids))

    def _expire(self, changes: Changes) -> None:
        owned = {number for _, number in self._owned()}
        count = self._settings.kafka.kafka_partitions
        mine = [
            lease
            for lease in jobs.expired(self._db, self._settings.scan_rows)
            if partition_for(lease["session_id"], count) in owned
        ]
        if mine:
            taken = jobs.release(
                self._db, changes, mine, expired=True, policy=self._policy, actor=self._actor
            )
            self._metrics.inc("penstock_lease_expired_total", len(taken))

    def _sweep(self, changes: Changes, now: float) -> list[Outgoing]:
        timing = self._settings.timing
        jobs.lost(self._db, changes, older_than=timing.sweep_seconds)
        workers.mark_silent(self._db, ttl_seconds=timing.session_ttl_seconds)
        self._metrics.set("penstock_outbox_oldest_seconds", outbox.oldest_age(self._db))
        self._metrics.clear("penstock_queue_depth")
        self._metrics.clear("penstock_oldest_queued_seconds")
        for pool, lane, depth, age in jobs.queue_depth(self._db):
            self._metrics.set("penstock_queue_depth", depth, pool=pool, lane=lane)
            self._metrics.set("penstock_oldest_queued_seconds", age, pool=pool, lane=lane)
        return [self._request(row, now) for row in requests.unapplied(self._db, self._settings.scan_rows)]

    def _request(self, row: dict[str, str], now: float) -> Outgoing:
        """A request that intake has not applied: its record again, as the gateway wrote it."""
        headers = envelope(
            REQUESTED_TYPE, row["key"], rfc3339(now), traceparent=traceparent(row["pipeline_id"]),
            source=f"/penstock/{self._actor}".encode(),
        )  # fmt: skip
        return Outgoing(topics.PIPELINES_REQUESTED.name, row["tenant"], row["body"].encode(), headers)
