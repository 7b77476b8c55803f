"""The one poll loop of the control services: poll, step, send and wait for the acks, commit (protocol §11).

Nothing in it waits while there is work: a batch is whatever is there, one record when idle and hundreds under
load.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from penstock.core.errors import DeadLetter, RejectInput, RetryLater, StopProcess
from penstock.kafka.batches import Dead, Outcome, Step, Tick
from penstock.kafka.dlq import dead_letter, has_dlq
from penstock.kafka.later import AGAIN_SECONDS, Later
from penstock.kafka.ports import MAX_RECORDS, Sender, Source
from penstock.kafka.records import Outgoing, Partition, Record
from penstock.runtime.log import logger
from penstock.runtime.run import Process

IDLE_SECONDS: Final = 0.2
"""An idle loop looks so often whether it shall stop."""
FIRST_RETRY_SECONDS: Final = 0.05
LAST_RETRY_SECONDS: Final = 2.0

log = logger(__name__)
T = TypeVar("T")


def run_loop(
    process: Process,
    source: Source,
    step: Step,
    sender: Sender,
    *,
    tick: Tick | None = None,
    tick_seconds: float = 1.0,
    share_bytes: int | None = None,
) -> None:
    """Run until `process.stopping`, then commit and close the source. The sender stays open.

    `tick` is called at least every `tick_seconds`, between batches, also when nothing comes. With
    `share_bytes` a step gets of all partitions in turn, and not much more than that: what comes to one does
    not wait until all of another is done.
    """
    loop = _Loop(process, source, step, sender)
    next_tick = process.clock.monotonic()
    try:
        while not process.stopping.is_set():
            process.beat()
            wait = max(0.0, next_tick - process.clock.monotonic())
            batch = loop.read(min(wait, IDLE_SECONDS), MAX_RECORDS, share_bytes)
            if batch:
                loop.handle(batch)
            if process.clock.monotonic() >= next_tick:
                next_tick = process.clock.monotonic() + tick_seconds
                loop.tick(tick)
            if not process.is_ready() and source.positioned():
                process.ready()
    finally:
        source.close()


def in_turn(batch: Sequence[Record], share_bytes: int) -> tuple[list[Record], list[Record]]:
    """One record of each partition, then another of each, until they have `share_bytes`; and the rest."""
    lines: dict[Partition, deque[Record]] = {}
    for record in batch:
        lines.setdefault((record.topic, record.partition), deque()).append(record)
    taken: list[Record] = []
    room = share_bytes
    while lines and room > 0:
        for partition, line in list(lines.items()):
            record = line.popleft()
            taken.append(record)
            room -= len(record.value or b"")
            if not line:
                del lines[partition]
    return taken, [record for line in lines.values() for record in line]


class _Stopping(Exception):
    """The process is told to stop before the batch could be done."""


class _Lost(Exception):
    """The partitions of all these records were taken away: whoever has them now reads them again."""


class _Loop:
    def __init__(self, process: Process, source: Source, step: Step, sender: Sender) -> None:
        self._process = process
        self._source = source
        self._step = step
        self._sender = sender
        self._later = Later()
        self._kept: set[Partition] = set()
        """Partitions of the batch in hand that were ours all the time since it was read."""

    def read(self, timeout: float, max_records: int, share_bytes: int | None = None) -> list[Record]:
        """What was put off and is due again, then what is new."""
        clock = self._process.clock
        self._source.pause(self._later.crowded())
        wait = 0.0 if self._later.is_due(clock.monotonic()) else timeout
        new = self._source.poll(wait, max_records)
        self._later.keep(self._source.assignment())
        now = clock.monotonic()
        batch = self._later.take_due(now) + new
        if share_bytes is not None:
            batch, rest = in_turn(batch, share_bytes)
            self._later.put_off(rest, now)
        return batch

    def handle(self, batch: list[Record]) -> None:
        """One batch to its commit. What was not done is not committed: it will be read again."""
        self._kept = {(record.topic, record.partition) for record in batch}
        try:
            self._run(batch)
        except _Stopping:
            return
        self._later.commit(self._source, self._ours(batch))

    def tick(self, tick: Tick | None) -> None:
        """What is due by the clock; a failure is told and tried again at the next tick."""
        for topic, lag in self._source.lag().items():
            self._process.metrics.set("penstock_consumer_lag", lag, topic=topic)
        if tick is None:
            return
        try:
            outcome = tick(self._process.clock.now())
            if outcome is not None:
                self._send(outcome)
        except RetryLater as error:
            self._count(error)
            log.warning("tick put off", error=str(error), component=error.component)
        except StopProcess:
            raise
        except Exception:
            log.exception("tick failed")

    def _run(self, batch: list[Record]) -> None:
        """Do what is still ours of the batch; that another part of it was taken away stops none of it."""
        ours = self._ours(batch)
        if ours:
            with contextlib.suppress(_Lost):
                self._bisect(ours)

    def _ours(self, batch: list[Record]) -> list[Record]:
        return [record for record in batch if (record.topic, record.partition) in self._kept]

    def _bisect(self, batch: list[Record]) -> None:
        """Step through the batch, halving it where it raises, until the offender stands alone."""
        try:
            outcome = self._persist(self._timed_step, batch)
        except (_Stopping, _Lost, StopProcess):
            raise
        except Exception as error:  # noqa: BLE001 - one record must not stop its partition
            if len(batch) > 1:
                middle = len(batch) // 2
                self._run(batch[:middle])
                self._run(batch[middle:])
                return
            outcome = Outcome(dead=[_dead(batch[0], error)])
        self._publish(outcome, batch)

    def _timed_step(self, batch: list[Record]) -> Outcome:
        clock, metrics, name = self._process.clock, self._process.metrics, self._process.name
        started = clock.monotonic()
        outcome = self._step(batch, clock.now())
        metrics.observe("penstock_batch_size", len(batch), service=name)
        metrics.observe("penstock_step_seconds", clock.monotonic() - started, service=name)
        return outcome

    def _publish(self, outcome: Outcome, batch: list[Record]) -> None:
        self._later.put_off(outcome.later, self._process.clock.monotonic() + AGAIN_SECONDS)
        if outcome.done is None:
            self._persist(lambda _: self._offer(outcome.records), batch)
        else:
            self._send(outcome)
        if outcome.dead:
            self._park(outcome.dead, batch)

    def _send(self, outcome: Outcome) -> None:
        """One try; what is not acknowledged stays in the outbox for the relay."""
        try:
            self._offer(outcome.records)
        except RetryLater as error:
            self._count(error)
            log.warning("events left to the relay", records=len(outcome.records), error=str(error))
            return
        if outcome.done is not None:
            outcome.done()

    def _offer(self, records: list[Outgoing]) -> None:
        try:
            self._sender.send(records)
        except RejectInput as error:
            # Too large, and ours: a mistake of this program. Postgres has the truth, sweeps go on from it.
            log.exception("events refused", records=len(records), problem=str(error))

    def _park(self, dead: list[Dead], batch: list[Record]) -> None:
        now = self._process.clock.now()
        letters = [dead_letter(*one, now) for one in dead if has_dlq(one.record.topic)]
        self._persist(lambda _: self._offer(letters), batch)
        for one in dead:
            self._process.metrics.inc("penstock_dead_letters_total", topic=one.record.topic)
            log.warning("dead letter", place=one.record.place, reason=one.reason, error=one.error)

    def _persist(self, act: Callable[[list[Record]], T], batch: list[Record]) -> T:
        """Try until it raises no `RetryLater`, staying a member of the group meanwhile."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return act(batch)
            except RetryLater as error:
                self._count(error)
                log.warning("put off", error=str(error), component=error.component, records=len(batch))
            if self._process.clock.sleep(delay * random.uniform(0.5, 1.0), self._process.stopping):
                raise _Stopping
            delay = min(delay * 2, LAST_RETRY_SECONDS)
            self._process.beat()
            self._source.keep_alive()
            held = self._source.assignment()
            # Gone is gone, should it even be ours again by the end of the batch: it is read anew then.
            self._kept &= held
            self._later.keep(held)
            batch = self._ours(batch)
            if not batch:
                raise _Lost

    def _count(self, error: RetryLater) -> None:
        self._process.metrics.inc("penstock_retries_total", component=error.component or "unknown")


def _dead(record: Record, error: Exception) -> Dead:
    if isinstance(error, DeadLetter | RejectInput):
        return Dead(record, str(error), type(error).__name__)
    log.error("record failed alone", place=record.place, exc_info=error)
    return Dead(record, f"{type(error).__name__}: {error}", type(error).__name__)
