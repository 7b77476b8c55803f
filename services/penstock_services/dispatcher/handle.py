"""The dispatcher's hands: takes in records, asks decide, claims, publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from penstock.core.errors import DeadLetter
from penstock.core.ids import uuid4
from penstock.core.waiting import Why
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
from penstock.store import jobs, policies
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.store.outbox import Acks
from penstock_services.dispatcher.claims import Claims
from penstock_services.dispatcher.decide import Choice, decide
from penstock_services.dispatcher.fleet import Lease
from penstock_services.dispatcher.locks import Name
from penstock_services.dispatcher.memory import Memory
from penstock_services.dispatcher.policies import Said
from penstock_services.dispatcher.runners import Attempt, Load
from penstock_services.dispatcher.settings import DispatcherSettings
from penstock_services.dispatcher.telling import Telling, news

SILENT_BEATS = 1.5
"""Sessions not heard of for so many heartbeats get no job (protocol §3)."""
LEASE_BEATS = 3
"""An ASSIGNED lease lives for so many heartbeats."""
AT_ONCE = 1_000
"""Rows read in one statement."""

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
        self._partitions = settings.kafka.kafka_partitions
        beat = settings.timing.heartbeat_seconds
        self._memory = Memory(settings.policy(), SILENT_BEATS * beat)
        self._claims = Claims(
            db,
            lease_seconds=LEASE_BEATS * beat,
            exclusive_seconds=settings.timing.exclusive_seconds,
            actor=actor,
            new_token=new_token,
        )
        self._telling = Telling()
        self._owned: frozenset[int] = frozenset()
        self._owned_pools: dict[str, bool] = {}
        """Of pools that were asked for, whether they are among those."""
        self._acks = Acks()
        self._leases_due = True
        """All leases are to be read: partitions came, and no sweep has got through since."""
        self._not_found: set[Attempt] = set()
        """Attempts that heartbeats tell of and of which there is no lease."""

    def own(self, partitions: set[Partition]) -> bool:
        """State which partitions of the offers are this replica's; whether that is news."""
        owned = frozenset(number for _, number in partitions)
        changed = owned != self._owned
        self._owned = owned
        if changed:
            self._owned_pools.clear()
        self._leases_due |= changed
        return changed

    def take(self, batch: Sequence[Record]) -> None:
        """Records of any of the topics, in any order; a bad one is dropped: all of them only repeat."""
        fleet, ready = self._memory.fleet, self._memory.ready
        for record in batch:
            try:
                if record.topic == topics.WORKERS_OFFERS.name:
                    fleet.offer(offer.decode(record.value), self._heard_at(record))
                elif record.topic == topics.WORKERS_HEARTBEATS.name:
                    fleet.heartbeat(heartbeat.decode(record.value), self._heard_at(record))
                else:
                    hint = ready_hint.decode(record.value)
                    ready.add(job for job in hint.jobs if self._owns(job.pool))
                    self._memory.freed(hint.freed)
            except DeadLetter as error:
                log.warning("hint dropped", place=record.place, error=str(error))

    def grant(self) -> int:
        """Claim and grant what fits now; returns how many jobs were claimed. Raises RetryLater."""
        memory, now = self._memory, self._clock.monotonic()
        if not len(memory.ready):
            return 0
        if memory.policies_due:
            self._read_policies()
        scene = memory.scene(now, self._clock.now())
        decision = decide(scene, [pool for pool in memory.ready.pools() if self._owns(pool)])
        memory.decided(decision, now)
        if not decision.choices:
            return 0
        changes = Changes()
        waited = {
            choice.job.job_id: now - since
            for choice in decision.choices
            if (since := memory.ready.free_since(choice.job.job_id)) is not None
        }
        claimed = self._claims.claim(changes, decision.choices, waited)
        won = [choice for choice in decision.choices if choice.job.job_id in claimed.attempts]
        memory.claimed(won, claimed.attempts, now)
        refused = {wait["job_id"] for wait in claimed.waits}
        memory.ready.remove([one.job.job_id for one in decision.choices if one.job.job_id not in refused])
        self._publish(changes)
        self._read_holders(memory.refused(claimed.waits, now))
        self._observe(won, len(decision.choices), len(decision.choices) - len(won) - len(refused))
        return len(won)

    def sweep(self) -> Iterator[None]:
        """Read the queue again: whatever hint was lost is found here. Raises RetryLater.

        In short steps, between which jobs may be granted: a long queue must not hold up those that come.
        """
        self._claims.may_refuse = True
        self._acks.flush(self._db)
        memory, now = self._memory, self._clock.monotonic()
        memory.fleet.forget_silent(now)
        self._read_policies()
        self._read_leases(now)
        yield
        yield from self._read_queue()
        names = memory.ready.locks.names()
        for begin in range(0, len(names), AT_ONCE):
            self._read_holders(names[begin : begin + AT_ONCE])
            yield
        yield from self._explain()
        memory.turns.open_quotas()  # after it was told who waits for them

    def _read_queue(self) -> Iterator[None]:
        """Jobs that came, went, or came to another lane without a hint."""
        ready = self._memory.ready
        unseen = {job.job_id: job for job in ready.jobs()}
        told: set[str] = set()
        keys = jobs.ready_keys(self._db, most=AT_ONCE)
        while keys:
            mine = [key for key in keys if self._owns(key.pool)]
            told.update(key.job_id for key in mine if key.told)
            missing = [
                key.job_id
                for key in mine
                if (known := ready.get(key.job_id)) is None or known.lane != key.lane
            ]
            if missing:
                ready.add(msgspec.convert(jobs.ready_rows(self._db, missing), list[ReadyJob]))
            for key in mine:
                unseen.pop(key.job_id, None)
            yield
            keys = jobs.ready_keys(self._db, after=keys[-1].job_id, most=AT_ONCE)
        ready.forget(unseen.values())
        self._telling.compare(ready, told)

    def _read_leases(self, now: float) -> None:
        """Whoever took pools over learns all that runs; else what only heartbeats told of."""
        fleet = self._memory.fleet
        if not self._leases_due and fleet.unknown() <= self._not_found:
            return
        held = jobs.leases_by_session(self._db)
        leases = [_lease(session, one) for session, living in held.items() for one in living]
        if self._leases_due:
            fleet.assume(leases, now)
        else:
            fleet.amend(leases, now)
        self._not_found = fleet.unknown()
        self._leases_due = False

    def flush(self) -> None:
        """Delete what is acked. Raises RetryLater."""
        self._acks.flush(self._db)

    def _explain(self) -> Iterator[None]:
        """Write and publish the reasons that changed."""
        for _ in range(self._telling.looks(len(self._memory.ready))):
            scene = self._memory.scene(self._clock.monotonic(), self._clock.now())
            changed = self._telling.changed(scene)
            if changed:
                at = rfc3339(self._clock.now())
                rows = [{"job_id": job.job_id, "why": _told(why, at)} for job, why in changed]
                jobs.explain(self._db, rows)
                told = (news(job, why, at) for job, why in changed)
                self._sender.post(publish.waiting(told, self._actor), _sent)
                self._telling.told(changed)
            yield
        self._metrics.clear("penstock_waiting_jobs")
        for (pool, reason), count in self._telling.counted(self._memory.ready).items():
            self._metrics.set("penstock_waiting_jobs", count, pool=pool, reason=reason)

    def _read_policies(self) -> None:
        said = msgspec.convert(policies.policies(self._db), Said)
        self._memory.said(said, self._clock.monotonic())

    def _read_holders(self, names: Sequence[Name]) -> None:
        if names:
            asked = [{"tenant": tenant, "kind": kind, "name": name} for tenant, kind, name in names]
            self._memory.holders(names, jobs.held(self._db, asked))

    def _heard_at(self, record: Record) -> float:
        """When a session was heard, monotonic: what was written before this process began is as old as it is.

        All else is heard when it is read, so a broker's clock that differs from ours spoils a moment at the
        start and nothing more.
        """
        began, began_monotonic = self._born
        age = began - record.timestamp_ms / 1000
        return began_monotonic - age if age > 0 else self._clock.monotonic()

    def _owns(self, pool: str) -> bool:
        mine = self._owned_pools.get(pool)
        if mine is None:
            mine = self._owned_pools[pool] = partition_for(pool, self._partitions) in self._owned
        return mine

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

    def _observe(self, won: Sequence[Choice], chosen: int, lost: int) -> None:
        now = self._clock.now()
        for choice in won:
            self._metrics.observe(
                "penstock_dispatch_latency_seconds", max(0.0, now - choice.job.queued_at.timestamp())
            )
        self._metrics.observe("penstock_batch_size", chosen, service="dispatcher")
        if lost > 0:
            self._metrics.inc("penstock_cas_conflicts_total", lost, service="dispatcher")


def _told(why: Why | None, at: str) -> dict[str, Any] | None:
    return None if why is None else {**msgspec.to_builtins(why), "at": at}


def _sent(error: Exception | None) -> None:
    if error is not None:
        log.warning("reasons not published, Postgres has them", error=str(error))


def _lease(session_id: str, living: jobs.Living) -> Lease:
    kind = (living.tenant, living.pool, living.executor)
    load = Load(0, kind, living.cpu, living.memory, max(1.0, living.cpu))
    return Lease(session_id, (living.job_id, living.attempt), load)
