"""All control services in one process: their real steps on a real Postgres, a bus in memory, and a runner.

Nothing waits: a turn lets everybody handle what is there. Which topics lose their records, and whether
anybody sweeps, is up to the test.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from penstock.core.ids import uuid4, uuid7
from penstock.events import topics, workers
from penstock.events.codec import encode
from penstock.events.jobs import Grant, Report, Reports
from penstock.kafka.batches import Outcome
from penstock.kafka.memory import MemoryBus
from penstock.kafka.records import Outgoing
from penstock.runtime.metrics import Metrics
from penstock.runtime.settings import (
    KafkaSettings,
    PostgresSettings,
    ProcessSettings,
    RetrySettings,
    TimingSettings,
)
from penstock.store.database import Database
from penstock.store.jobs import Policy
from penstock.testing.clock import ManualClock
from penstock_services.advancer.handle import Advancer
from penstock_services.canceller.handle import Canceller
from penstock_services.dispatcher.handle import Dispatcher
from penstock_services.dispatcher.settings import DispatcherSettings
from penstock_services.intake.handle import Intake
from penstock_services.reaper.handle import Reaper
from penstock_services.reaper.settings import ReaperSettings

PARTITIONS = 4
QUIET = frozenset((topics.WORKERS_CONTROL.name, topics.WARMUP.name))
"""Records that drive nothing on."""
SESSION_TTL = 3.0


class Runner:
    """A runner of no-op jobs by the protocol; `outcome` says of a job's name whether it succeeds."""

    def __init__(self, bus: MemoryBus, clock: ManualClock, outcome: Callable[[str], bool]) -> None:
        self.session = uuid7(clock.now())
        self.starts: list[str] = []
        self._seen: set[tuple[str, int]] = set()
        self._n = 0
        self._outcome = outcome
        self._sender = bus.sender()
        self._grants = bus.tail([topics.WORKERS_GRANTS.name])
        self._unsettled: dict[tuple[str, int], tuple[str, Report]] = {}
        self._control = bus.tail([topics.WORKERS_CONTROL.name])

    def heartbeat(self) -> None:
        """Everything about it; reports that are not settled go out again."""
        self._n += 1
        beat = workers.Heartbeat(
            session_id=self.session, n=self._n, name="runner", pool="default", slots=8, executors=["noop"]
        )
        self._send(topics.WORKERS_HEARTBEATS.name, self.session, beat)
        for pipeline_id, report in list(self._unsettled.values()):
            self._report(pipeline_id, [report])

    def offer(self, ended: Sequence[workers.Ended] = ()) -> None:
        """What changed."""
        one = workers.Offer(
            session_id=self.session, n=self._n, pool="default", slots=8, executors=["noop"], ended=list(ended)
        )
        self._send(topics.WORKERS_OFFERS.name, "default", one)

    def turn(self) -> bool:
        """Run what was granted; whether there was anything."""
        for record in self._control.poll(0):
            for settled in workers.control.decode(record.value).settled:
                self._unsettled.pop((settled.job_id, settled.attempt), None)
        batches = [workers.grants.decode(record.value) for record in self._grants.poll(0)]
        grants = [grant for batch in batches if batch.session_id == self.session for grant in batch.grants]
        # As every runner must: an attempt that it has seen is never started a second time.
        grants = [grant for grant in grants if (grant.job_id, grant.attempt) not in self._seen]
        for grant in grants:
            self._seen.add((grant.job_id, grant.attempt))
            self._run(grant)
        if grants:
            self.offer([workers.Ended(grant.job_id, grant.attempt, 1) for grant in grants])
        return bool(grants)

    def _run(self, grant: Grant) -> None:
        self.starts.append(grant.name)
        success = self._outcome(grant.name)
        report = Report(
            job_id=grant.job_id,
            attempt=grant.attempt,
            token=grant.token,
            kind="ended",
            success=success,
            exit_code=0 if success else 1,
            reason=None if success else "exit-code",
            duration_ms=1,
        )
        self._unsettled[grant.job_id, grant.attempt] = (grant.pipeline_id, report)
        self._report(grant.pipeline_id, [report])

    def _report(self, pipeline_id: str, reports: list[Report]) -> None:
        record = Reports(pipeline_id=pipeline_id, session_id=self.session, reports=reports)
        self._send(topics.JOBS_REPORTS.name, pipeline_id, record)

    def _send(self, topic: str, key: str, record: Any) -> None:
        self._sender.send([Outgoing(topic, key, encode(record), [])])


class Shelf:
    """No definitions by reference."""

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        return None


class Town:
    """intake, advancer, dispatcher, reaper, canceller and one runner."""

    def __init__(
        self, db: Database, dsn: str, *, lost: Sequence[str] = (), sweeps: bool = True,
        outcome: Callable[[str], bool] = lambda name: not name.startswith("fail"),
    ) -> None:  # fmt: skip
        self.db = db
        self.clock = ManualClock(time.time())
        self.bus = MemoryBus(PARTITIONS, self.clock)
        self._sweeps = sweeps
        self._lost = frozenset(lost)
        self._sender = self.bus.sender()
        kafka = KafkaSettings(kafka_bootstrap="memory", kafka_partitions=PARTITIONS)
        postgres = PostgresSettings(postgres_dsn=dsn)
        timing = TimingSettings(session_ttl_seconds=SESSION_TTL, heartbeat_seconds=1, sweep_seconds=0)
        shared = {"process": ProcessSettings(), "kafka": kafka, "postgres": postgres, "timing": timing}
        metrics = Metrics()
        self.intake = Intake(db, Shelf(), actor="intake-0", open_tenancy=True)
        self.advancer = Advancer(
            db, actor="advancer-0", ttl_seconds=SESSION_TTL, policy=Policy(retry_base=0), metrics=metrics,
            jitter=lambda: 0.0,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            db,
            self._filtered(),
            DispatcherSettings(**shared),
            actor="dispatcher-0",
            clock=self.clock,
            metrics=metrics,
        )
        self.dispatcher.own({(topics.WORKERS_OFFERS.name, number) for number in range(PARTITIONS)})
        self.canceller = Canceller(db, actor="canceller-0", sweep_seconds=0)
        self.reaper = Reaper(
            db, ReaperSettings(**shared, retry=RetrySettings(retry_base_seconds=0), relay_after_seconds=0),
            actor="reaper-0", clock=self.clock, metrics=metrics,
            owned=lambda: {(topics.WORKERS_HEARTBEATS.name, number) for number in range(PARTITIONS)},
        )  # fmt: skip
        self.runner = Runner(self.bus, self.clock, outcome)
        self._inputs = [
            (self.bus.group([topics.PIPELINES_REQUESTED.name], "intake"), self.intake.step),
            (self.bus.group([topics.JOBS_REPORTS.name], "advancer"), self.advancer.step),
            (self.bus.group([topics.WORKERS_HEARTBEATS.name], "reaper"), self.reaper.step),
            (self.bus.group([topics.CANCEL_REQUESTED.name], "canceller"), self.canceller.step),
        ]
        self._hints = self.bus.tail(
            [
                *(topic.name for topic in topics.JOBS_READY.values()),
                topics.WORKERS_HEARTBEATS.name,
                topics.WORKERS_OFFERS.name,
            ]
        )

    def submit(self, definition: dict[str, Any]) -> str:
        """Ask for a pipeline; returns its request key."""
        key = uuid4()
        value = orjson.dumps({"tenant": "default", "request_id": key, "definition": definition})
        self._sender.send([Outgoing(topics.PIPELINES_REQUESTED.name, "default", value, [])])
        return key

    def run(self, turns: int = 200) -> None:
        """Turn until nothing more happens by itself."""
        quiet = 0
        for _ in range(turns):
            quiet = 0 if self.turn() else quiet + 1
            if quiet == 3:
                return
        raise AssertionError(f"still busy after {turns} turns")

    def turn(self) -> bool:
        """Everybody handles what is there; whether anything but heartbeats happened."""
        self.clock.advance(1.0)
        self.runner.heartbeat()
        busy = self.runner.turn()
        for source, step in self._inputs:
            batch = source.poll(0)
            if batch:
                busy |= self._publish(step(batch, self.clock.now()))
                source.commit()
        settled = self.advancer.tick(self.clock.now())
        if settled is not None:
            self._publish(settled)
        self.dispatcher.take(self._hints.poll(0))
        if self._sweeps:
            busy |= self._publish(self.reaper.tick(self.clock.now()))
            canceller = self.canceller.tick(self.clock.now())
            busy |= canceller is not None and self._publish(canceller)
            collections.deque(self.dispatcher.sweep(), maxlen=0)
        while self.dispatcher.grant():
            busy = True
        return busy

    def states(self, key: str) -> dict[str, str]:
        """Job name -> state; the pipeline's own under the empty name."""
        rows = self.db.rows(
            "SELECT j.name, j.state FROM jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id"
            " WHERE p.request_id = %s UNION ALL SELECT '', state FROM pipelines WHERE request_id = %s",
            (key, key),
        )
        return dict(rows)

    def _publish(self, outcome: Outcome) -> bool:
        records = [one for one in outcome.records if one.topic not in self._lost]
        if records:
            self._sender.send(records)
        if outcome.done is not None:
            outcome.done()
        return any(one.topic not in QUIET for one in records)

    def _filtered(self) -> Any:
        town = self

        class Filtered:
            def send(self, records: Sequence[Outgoing]) -> None:
                town._sender.send([one for one in records if one.topic not in town._lost])

            def post(self, records: Sequence[Outgoing], on_done: Callable[[Exception | None], None]) -> None:
                self.send(records)
                on_done(None)

            def partitions(self, topic: str) -> int:
                return town._sender.partitions(topic)

        return Filtered()
