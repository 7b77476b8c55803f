"""The dispatcher's hands: takes in records, asks decide, claims, publishes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from penstock.core.errors import DeadLetter
from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.events.jobs import ReadyJob, ready_hint
from penstock.events.workers import heartbeat, offer
from penstock.kafka import publish
from penstock.kafka.partitioner import partition_for
from penstock.kafka.ports import Sender
from penstock.kafka.records import Partition, Record
from penstock.runtime.clock import Clock, rfc3339
from penstock.runtime.log import logger
from penstock.runtime.metrics import Metrics
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database, PoisonRow
from penstock.store.outbox import Acks
from penstock_services.dispatcher.decide import Choice, Policy, decide
from penstock_services.dispatcher.fleet import Fleet
from penstock_services.dispatcher.ready import Ready
from penstock_services.dispatcher.settings import DispatcherSettings

SILENT_BEATS = 1.5
"""Sessions not heard of for so many heartbeats get no job (protocol §3)."""
LEASE_BEATS = 3
"""An ASSIGNED lease lives for so many heartbeats."""

log = logger(__name__)


class Dispatcher:
    """Owns the pools whose key falls into the partitions of `workers.offers` that this replica was given."""

    def __init__(
        self,
        db: Database,
        sender: Sender,
        settings: DispatcherSettings,
        *,
        actor: str,
        clock: Clock,
        metrics: Metrics,
        new_token: Callable[[], str] = uuid4,
    ) -> None:
        self._db = db
        self._sender = sender
        self._actor = actor
        self._clock = clock
        self._born = clock.now(), clock.monotonic()
        self._metrics = metrics
        self._new_token = new_token
        self._heartbeat_seconds = settings.timing.heartbeat_seconds
        self._exclusive_seconds = settings.timing.exclusive_seconds
        self._partitions = settings.kafka.kafka_partitions
        self._policy = Policy(settings.claim_rows, settings.lookahead_jobs, settings.lookahead_seconds)
        self._ready = Ready()
        self._fleet = Fleet(SILENT_BEATS * self._heartbeat_seconds)
        self._owned: frozenset[int] = frozenset()
        self._acks = Acks()
        self._may_refuse = True

    def own(self, partitions: set[Partition]) -> bool:
        """State which partitions of the offers are this replica's; whether that is news."""
        owned = frozenset(number for _, number in partitions)
        changed = owned != self._owned
        self._owned = owned
        return changed

    def take(self, batch: Sequence[Record]) -> None:
        """Records of any of the topics, in any order; a bad one is dropped: all of them only repeat."""
        for record in batch:
            try:
                if record.topic == topics.WORKERS_OFFERS.name:
                    self._fleet.offer(offer.decode(record.value), self._heard_at(record))
                elif record.topic == topics.WORKERS_HEARTBEATS.name:
                    self._fleet.heartbeat(heartbeat.decode(record.value), self._heard_at(record))
                else:
                    self._ready.add(
                        job for job in ready_hint.decode(record.value).jobs if self._owns(job.pool)
                    )
            except DeadLetter as error:
                log.warning("hint dropped", place=record.place, error=str(error))

    def grant(self) -> int:
        """Claim and grant what fits now; returns how many jobs were claimed. Raises RetryLater."""
        pools = [pool for pool in self._ready.pools() if self._owns(pool)]
        if not pools:
            return 0
        now = self._clock.monotonic()
        choices = decide(self._ready, self._fleet, self._policy, now, pools)
        if not choices:
            return 0
        changes = Changes()
        claimed = self._claim(changes, choices)
        for choice in choices:
            if choice.job.job_id in claimed:
                kind = (choice.job.tenant, choice.job.pool, choice.job.executor)
                self._fleet.grant(
                    choice.runner.session_id, (choice.job.job_id, claimed[choice.job.job_id]), kind
                )
        self._ready.remove([choice.job.job_id for choice in choices])
        self._publish(changes)
        self._observe(choices, len(claimed))
        return len(claimed)

    def sweep(self, *, took_over: bool) -> None:
        """Read the keys of the queue again: whatever hint was lost is found here. Raises RetryLater."""
        self._may_refuse = True
        self._acks.flush(self._db)
        self._fleet.forget_silent(self._clock.monotonic())
        keys = {job_id for job_id, pool in jobs.ready_keys(self._db) if self._owns(pool)}
        self._ready.keep(keys)
        missing = [job_id for job_id in keys if job_id not in self._ready]
        for begin in range(0, len(missing), 1000):
            rows = jobs.ready_rows(self._db, missing[begin : begin + 1000])
            self._ready.add(msgspec.convert(rows, list[ReadyJob]))
        if took_over:
            leases = jobs.leases_by_session(self._db)
            self._fleet.assume(
                {session: [(one.job_id, one.attempt) for one in held] for session, held in leases.items()}
            )

    def flush(self) -> None:
        """Delete what is acked. Raises RetryLater."""
        self._acks.flush(self._db)

    def _heard_at(self, record: Record) -> float:
        """When a session was heard, monotonic: what was written before this process began is as old as it is.

        All else is heard when it is read, so a broker's clock that differs from ours spoils a moment at the
        start and nothing more.
        """
        began, began_monotonic = self._born
        age = began - record.timestamp_ms / 1000
        return began_monotonic - age if age > 0 else self._clock.monotonic()

    def _owns(self, pool: str) -> bool:
        return partition_for(pool, self._partitions) in self._owned

    def _claim(self, changes: Changes, choices: Sequence[Choice]) -> dict[str, int]:
        """Claim them by compare-and-swap; returns the attempt numbers of those that were won."""
        claims = [
            {
                "job_id": choice.job.job_id,
                "token": self._new_token(),
                "session_id": choice.runner.session_id,
                "n": choice.runner.n,
            }
            for choice in sorted(choices, key=_job_id)
        ]
        try:
            jobs.claim(
                self._db,
                changes,
                claims,
                lease_seconds=LEASE_BEATS * self._heartbeat_seconds,
                exclusive_seconds=self._exclusive_seconds,
                actor=self._actor,
            )
        except PoisonRow as error:
            if len(choices) == 1:
                log.error("job cannot be claimed", job_id=choices[0].job.job_id, error=str(error))  # noqa: TRY400
                self._refuse(changes, choices[0].job.job_id)
                return {}
            middle = len(choices) // 2
            self._claim(changes, choices[:middle])
            self._claim(changes, choices[middle:])
        return {grant["job_id"]: grant["attempt"] for grant in changes.grants}

    def _refuse(self, changes: Changes, job_id: str) -> None:
        """Alone it is at fault: it ends, or every sweep would try it again (protocol §10).

        One a sweep: should the fault be ours after all, it does not run through the queue.
        """
        if not self._may_refuse:
            return
        self._may_refuse = False
        try:
            jobs.refuse(self._db, changes, [job_id], actor=self._actor)
        except PoisonRow as error:
            log.warning("job cannot be ended either", job_id=job_id, error=str(error))

    def _publish(self, changes: Changes) -> None:
        def done(error: Exception | None) -> None:
            if error is None:
                self._acks.add(changes.outbox_ids)
            else:
                log.warning("events left to the relay", error=str(error))

        records = publish.records(changes, self._actor)
        if changes.undecided:
            records += publish.undecided_hints(changes.undecided, rfc3339(self._clock.now()), self._actor)
        self._sender.post(records, done)

    def _observe(self, choices: Sequence[Choice], claimed: int) -> None:
        now = self._clock.now()
        for choice in choices:
            self._metrics.observe(
                "penstock_dispatch_latency_seconds", max(0.0, now - choice.job.queued_at.timestamp())
            )
        self._metrics.observe("penstock_batch_size", len(choices), service="dispatcher")
        if claimed < len(choices):
            self._metrics.inc("penstock_cas_conflicts_total", len(choices) - claimed, service="dispatcher")


def _job_id(choice: Choice) -> str:
    return choice.job.job_id
