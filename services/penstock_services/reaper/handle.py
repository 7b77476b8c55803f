"""Steps and scans of the reaper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.core.errors import DeadLetter, RetryLater, StopProcess
from penstock.events import topics
from penstock.events import workers as worker_events
from penstock.kafka import publish
from penstock.kafka.batches import Dead, Outcome
from penstock.kafka.records import Outgoing, Partition, Record
from penstock.runtime.clock import Clock, rfc3339
from penstock.runtime.log import logger
from penstock.runtime.metrics import Metrics
from penstock.store import jobs, outbox, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock_services.reaper import decide
from penstock_services.reaper.duties import Duties, Duty, Ownership
from penstock_services.reaper.settings import ReaperSettings

GRANT_HEARTBEATS: Final = 3
"""An ASSIGNED lease lasts so many (protocol §3)."""

log = logger(__name__)


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
        self._clock = clock
        self._metrics = metrics
        self._gap_seconds = max(decide.GAP_SECONDS, 2 * settings.timing.scan_seconds)
        self._watch = decide.Watch(settings.timing.session_ttl_seconds, self._gap_seconds)
        self._broker_answers = False
        """Kafka has the records of the last scan."""
        self._acks = outbox.Acks()
        duties = Duties(db, settings, actor=actor, owned=owned, metrics=metrics)
        self._outage = Duty("outage", 0, self._extend)
        self._duties = [*duties.all(), Duty("acks", 0, self._forget_acked)]
        self._due: dict[str, float] = {}

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
        """One scan: what is due by the database clock, and every so often the sweeps.

        Raises:
            RetryLater: the database is away.
        """
        changes = Changes()
        more = self._perform(self._outage, changes, now)
        may_judge = self._watch.tick(self._clock.monotonic())
        for duty in self._duties:
            if now >= self._due.get(duty.name, 0.0) and (may_judge or not duty.judges):
                more += self._perform(duty, changes, now)
        records = publish.records(changes, self._actor)
        records += publish.undecided_hints(changes.undecided, rfc3339(now), self._actor)
        # While the broker is away this record holds the loop up: an outage is a gap, not a silent fleet.
        probe = Outgoing(topics.WARMUP.name, None, None, [])
        return Outcome([*records, *more, probe], lambda: self._acked(changes.outbox_ids))

    def _extend(self, _changes: Changes, _now: float) -> list[Outgoing]:
        """Make good by what an outage of the database or of Kafka shortened leases and timers."""
        answered, self._broker_answers = self._broker_answers, False
        if not answered:
            self._watch.gap()
            return []
        timing = self._settings.timing
        seconds = jobs.outage(
            self._db,
            self._actor,
            gap_seconds=self._gap_seconds,
            longest_seconds=max(timing.session_ttl_seconds, GRANT_HEARTBEATS * timing.heartbeat_seconds),
        )
        if seconds:
            self._watch.gap()
            self._metrics.inc("penstock_outages_total")
            log.warning("leases and timers extended by an outage", seconds=round(seconds, 1))
        return []

    def _acked(self, outbox_ids: list[str]) -> None:
        self._broker_answers = True
        self._acks.add(outbox_ids)

    def _perform(self, duty: Duty, changes: Changes, now: float) -> list[Outgoing]:
        """One duty. What fails of it comes again; it keeps no other from its turn, unless all would fail."""
        self._due[duty.name] = now + duty.seconds
        try:
            return duty.perform(changes, now)
        except RetryLater as error:
            if not self._db.answers():
                self._watch.gap()
                raise
            self._metrics.inc("penstock_retries_total", component=error.component or "unknown")
            log.warning("put off", duty=duty.name, error=str(error))
        except StopProcess:
            raise
        except Exception:  # whatever is wrong with it, leases must go on to end
            log.exception("duty failed", duty=duty.name)
        return []

    def _forget_acked(self, _changes: Changes, _now: float) -> list[Outgoing]:
        self._acks.flush(self._db)
        return []
