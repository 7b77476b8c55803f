"""The polling thread: frames in, cuts out, offsets committed up to what is stored.

Not `penstock.kafka.loop`: a frame is done long after it was read, when its chunk is in the index.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Protocol

from penstock.core.errors import RejectInput, RetryLater
from penstock.events import topics
from penstock.kafka.batches import Dead
from penstock.kafka.dlq import dead_letter
from penstock.kafka.ports import MAX_RECORDS, Sender, Source
from penstock.kafka.records import Partition
from penstock.runtime.log import logger
from penstock.runtime.run import Process
from penstock.store.logs import LogKey
from penstock_services.logs.archive import Archive
from penstock_services.logs.duties import Duties
from penstock_services.logs.handle import Step, answers_out, settle, take
from penstock_services.logs.memory import Memory

TOPIC: Final = topics.LOGS_FRAMES.name
GROUP: Final = "penstock-logs"
IDLE_SECONDS: Final = 0.1
BUSY_SECONDS: Final = 0.02
"""How long to wait for frames while results are awaited."""
BATCH_BYTES: Final = 2 * 1024 * 1024
EVERY_SECONDS: Final = 1.0
"""How often offsets are committed and gauges set: a repeated frame costs less than a commit."""
BEHIND_RECORDS: Final = 1000
"""With more to be read, nothing is said about logs that seem to have no end."""
RETRY_SECONDS: Final = 0.5

log = logger(__name__)


class Readers(Protocol):
    """The live readers, in threads of their own; both calls are quick and thread-safe."""

    def changed(self, keys: set[LogKey]) -> None:
        """There is something new of these logs."""
        ...

    def revoked(self, partitions: set[int]) -> None:
        """These are another replica's now: its readers must go there."""
        ...


class Loop:
    """Ties the parts together; `on_assigned` and `on_revoked` are for the source."""

    def __init__(
        self,
        process: Process,
        sender: Sender,
        memory: Memory,
        archive: Archive,
        duties: Duties,
        readers: Readers,
        cluster_id: Callable[[], str],
    ) -> None:
        self._process = process
        self._sender = sender
        self._memory = memory
        self._archive = archive
        self._duties = duties
        self._readers = readers
        self._cluster_id = cluster_id
        self._next = 0.0

    def on_assigned(self, partitions: set[Partition]) -> None:
        """See `Rebalanced`."""
        self._memory.assign(number for _, number in partitions)
        self._archive.cluster_id = self._cluster_id()
        self._duties.hold_off(self._process.clock.monotonic())
        self._archive.register()

    def on_revoked(self, partitions: set[Partition]) -> None:
        """See `Rebalanced`."""
        numbers = {number for _, number in partitions}
        self._memory.revoke(numbers)
        self._readers.revoked(numbers)
        self._archive.register()

    def run(self, source: Source, drain_seconds: float) -> None:
        """Until told to stop; then store what is in memory, at most so long, commit, and close the source."""
        try:
            while not self._process.stopping.is_set():
                self.turn(source)
                if not self._process.is_ready() and source.positioned():
                    self._process.ready()
            self._drain(source, drain_seconds)
            source.commit(self._memory.done(TOPIC))
        except Abandoned:
            log.warning("stopped with dead letters that Kafka did not take; they will be read again")
        finally:
            source.close()

    def turn(self, source: Source) -> None:
        """Once round: results, frames, cuts; what is due by the clock."""
        clock, memory, archive = self._process.clock, self._memory, self._archive
        self._process.beat()
        self._finish(settle(memory, archive.results()), source)
        if memory.full:
            source.keep_alive()
            self._finish(settle(memory, archive.results(IDLE_SECONDS)), source)
        else:
            batch = source.poll(self._patience(), MAX_RECORDS, BATCH_BYTES)
            if batch:
                self._process.metrics.observe("penstock_batch_size", len(batch), service=self._process.name)
                metrics = self._process.metrics
                self._finish(take(memory, batch, clock.monotonic(), clock.now(), metrics), source)
        archive.ask(memory.unknown())
        archive.store(memory.cuts(clock.monotonic(), archive.room))
        if clock.monotonic() >= self._next:
            self._next = clock.monotonic() + EVERY_SECONDS
            self._by_the_clock(source)

    def _patience(self) -> float:
        return IDLE_SECONDS if self._archive.idle else BUSY_SECONDS

    def _by_the_clock(self, source: Source) -> None:
        now = self._process.clock.monotonic()
        source.commit(self._memory.done(TOPIC))
        self._memory.forget_idle(now)
        behind = source.lag().get(TOPIC, 0)
        self._process.metrics.set("penstock_consumer_lag", behind, topic=TOPIC)
        if behind > BEHIND_RECORDS or self._memory.full:
            self._duties.hold_off(now)

    def _drain(self, source: Source, seconds: float) -> None:
        clock, memory, archive = self._process.clock, self._memory, self._archive
        deadline = clock.monotonic() + seconds
        while clock.monotonic() < deadline:
            archive.ask(memory.unknown())
            archive.store(memory.drain(clock.monotonic(), archive.room))
            if archive.idle:
                break
            source.keep_alive()
            self._finish(settle(memory, archive.results(IDLE_SECONDS)), source)
        if not memory.empty:
            log.warning("stopped before all was stored; it will be read again")

    def _finish(self, step: Step, source: Source) -> None:
        now = self._process.clock.now()
        if step.changed:
            self._readers.changed(step.changed)
        if step.answers:
            self._sender.post(answers_out(step.answers, now, self._process.instance), _told)
        if step.dead:
            self._park(step.dead, source)

    def _park(self, dead: list[Dead], source: Source) -> None:
        """Before anything is committed; raises Abandoned when told to stop before Kafka took them."""
        now = self._process.clock.now()
        letters = [dead_letter(*one, now) for one in dead]
        while True:
            try:
                self._sender.send(letters)
                break
            except RejectInput as error:
                log.exception("dead letters refused", records=len(letters), problem=str(error))
                break
            except RetryLater as error:
                log.warning("put off", error=str(error), component=error.component)
            if self._process.clock.sleep(RETRY_SECONDS * random.uniform(0.5, 1.0), self._process.stopping):
                raise Abandoned
            self._process.beat()
            source.keep_alive()
        for one in dead:
            self._process.metrics.inc("penstock_dead_letters_total", topic=one.record.topic)
            log.warning("dead letter", place=one.record.place, reason=one.reason, error=one.error)


class Abandoned(Exception):
    """Told to stop before the dead letters of a batch were acknowledged."""


def _told(error: Exception | None) -> None:
    if error is not None:
        # The runners send again what they were not told of, and are told then.
        log.warning("answers not sent", error=str(error))
