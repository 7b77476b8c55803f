"""Stub runners: they hold what they are granted by the runner protocol, and run nothing.

A job says by its environment how long it takes: `SECONDS`. Its stub tells its start at once, its end so much
later, and then offers the slot, as a runner does. One that says nothing is held until the end, unless the
stubs have another `default`; a heartbeat tells that such a one started.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from bench.door import warm_up
from bench.field import Field
from penstock.core.errors import StopProcess
from penstock.core.ids import uuid7
from penstock.events import topics, workers
from penstock.events.codec import encode
from penstock.events.jobs import Grant, Report, Reports
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Record
from penstock.kafka.tail import TailSource

LOOK_SECONDS = 0.05
GATHER_SECONDS = 0.1
"""News of a stub that had free slots anyway are gathered for so long, as a runner does."""
SETTLE_SECONDS = 1.0
SECONDS = "SECONDS"
HELD: dict[str, Any] = {"run": "true"}
"""A job that a stub holds until the end."""
WARM = (8, 8)
"""Stubs and their slots."""
Key = tuple[str, int]


def lasting(seconds: float, **more: Any) -> dict[str, Any]:
    """A job that takes so long at a stub. Not of the kind of no-ops, which are measured as short ones."""
    return {**HELD, "env": {SECONDS: f"{seconds:.3f}"}, **more}


def warm(field: Field) -> None:
    """Run what is not measured, on a stack without runners."""
    with Stubs(field, *WARM, default=0.0) as fleet:
        fleet.settle()
        warm_up(field.door)


class Agenda:
    """When each of many has its next thing to do; the times are monotonic seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._at: dict[int, float] = {}

    def put(self, number: int, at: float) -> None:
        """At this time, or earlier if that was said before."""
        if at < self._at.get(number, math.inf):
            self._at[number] = at
            heapq.heappush(self._heap, (at, number))

    def next_at(self) -> float:
        """When the first of them is due, or an earlier time."""
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now: float) -> list[int]:
        """Those that are due, each of them once."""
        found: list[int] = []
        while self._heap and self._heap[0][0] <= now:
            at, number = heapq.heappop(self._heap)
            if self._at.get(number) == at:
                del self._at[number]
                found.append(number)
        return found


class Stub:
    """One session. Times are monotonic seconds."""

    def __init__(self, number: int, slots: int, default: float | None = None) -> None:
        self.session = uuid7(time.time())
        self.name = f"stub-{number}-{self.session[-6:]}"
        self.slots = slots
        self.beats = 0
        self.silent = False
        self.last_beat = 0.0
        """Unix seconds."""
        self.held: dict[Key, workers.Held] = {}
        self.offer_at = math.inf
        """When the ends must be told that nobody was told of."""
        self._default = default
        self._running = 0
        self._waiting: deque[Grant] = deque()
        self._ends: list[tuple[float, Key, Grant, float]] = []
        """A heap: when it ends, and how long it took then."""
        self._told: dict[Key, tuple[str, Report]] = {}
        """Reports to be sent and their pipelines; an end takes the place of the start before it."""
        self._ended: list[workers.Ended] = []
        self._seen: set[Key] = set()

    def take(self, granted: workers.Grants, now: float) -> None:
        """Everything granted is started as soon as a slot is free."""
        for grant in granted.grants:
            key = (grant.job_id, grant.attempt)
            if not self.silent and key not in self._seen:
                self._seen.add(key)
                self.held[key] = workers.Held(*key, grant.token, "granted")
                self._waiting.append(grant)
        self.work(now)

    def work(self, now: float) -> None:
        """End what is over by now, start what has a slot."""
        while True:
            while self._waiting and self._running < self.slots:
                self._start(self._waiting.popleft(), now)
            if not self._ends or self._ends[0][0] > now:
                return
            _, key, grant, seconds = heapq.heappop(self._ends)
            self._end(key, grant, seconds, now)

    def next_at(self) -> float:
        """When there will be something to do or to tell."""
        return min(self._ends[0][0] if self._ends else math.inf, self.offer_at)

    def news(self, now: float) -> list[Outgoing]:
        """What must be told now: its reports, a record a pipeline, and an offer of its free slots."""
        told, self._told = self._told, {}
        pipelines: dict[str, list[Report]] = {}
        for pipeline, report in told.values():
            pipelines.setdefault(pipeline, []).append(report)
        records = [
            Outgoing(topics.JOBS_REPORTS.name, one, encode(Reports(one, self.session, reports)), [])
            for one, reports in pipelines.items()
        ]
        if self.offer_at <= now:
            records.append(self._offer())
        return records

    def heartbeat(self, state: workers.WorkerState | None = None) -> Outgoing:
        """The whole truth."""
        self.beats += 1
        self.last_beat = time.time()
        beat = workers.Heartbeat(
            session_id=self.session,
            n=self.beats,
            name=self.name,
            pool="default",
            slots=self.slots,
            state=state or self._state(),
            executors=["noop", "process"],
            held=list(self.held.values()),
        )
        return Outgoing(topics.WORKERS_HEARTBEATS.name, self.session, encode(beat), [])

    def _state(self) -> workers.WorkerState:
        return "BUSY" if self.held else "IDLE"

    def _start(self, grant: Grant, now: float) -> None:
        key = (grant.job_id, grant.attempt)
        self._running += 1
        self.held[key] = workers.Held(*key, grant.token, "started")
        seconds = _seconds(grant, self._default)
        if seconds is not None:
            self._told[key] = grant.pipeline_id, Report(*key, grant.token, "started")
            heapq.heappush(self._ends, (now + seconds, key, grant, seconds))

    def _end(self, key: Key, grant: Grant, seconds: float, now: float) -> None:
        full = self._running + len(self._waiting) >= self.slots
        self._running -= 1
        del self.held[key]
        milliseconds = round(seconds * 1000)
        report = Report(*key, grant.token, "ended", success=True, exit_code=0, duration_ms=milliseconds)
        self._told[key] = grant.pipeline_id, report
        self._ended.append(workers.Ended(*key, milliseconds))
        self.offer_at = min(self.offer_at, now if full else now + GATHER_SECONDS)

    def _offer(self) -> Outgoing:
        ended, self._ended, self.offer_at = self._ended, [], math.inf
        offer = workers.Offer(
            session_id=self.session,
            n=self.beats,
            pool="default",
            slots=self.slots,
            name=self.name,
            state=self._state(),
            executors=["noop", "process"],
            ended=ended,
        )
        return Outgoing(topics.WORKERS_OFFERS.name, "default", encode(offer), [])


class Stubs:
    """Many sessions in one thread, their heartbeats spread over the period."""

    def __init__(self, field: Field, count: int, slots: int, default: float | None = None) -> None:
        self.all = [Stub(number, slots, default) for number in range(count)]
        self._numbers = {stub.session: number for number, stub in enumerate(self.all)}
        self._period = field.heartbeat
        self._producer = Producer(field.subject.kafka, name="stubs")
        self._grants = TailSource(field.subject.kafka, [topics.WORKERS_GRANTS.name], name="stubs")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stubs", daemon=True)
        self._failed: list[Exception] = []

    def __enter__(self) -> Stubs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._producer.close()
        if self._failed:
            raise StopProcess(f"a stub could not tell what it did: {self._failed[0]}")

    def held(self) -> int:
        """Attempts that all of them hold."""
        return sum(len(stub.held) for stub in self.all)

    def settle(self) -> None:
        """Wait until all of them were heard of."""
        time.sleep(self._period + SETTLE_SECONDS)

    def _run(self) -> None:
        try:
            self._live()
            self._producer.send([stub.heartbeat("OFFLINE") for stub in self.all if not stub.held])
        except Exception as error:  # noqa: BLE001 - told by the thread that waits for the figures
            self._failed.append(error)
        finally:
            self._grants.close()

    def _live(self) -> None:
        began = time.monotonic()
        beats, due = Agenda(), Agenda()
        for number in range(len(self.all)):
            beats.put(number, began + self._period * number / len(self.all))
        while not self._stopping.is_set():
            now = time.monotonic()
            next_at = min(now + LOOK_SECONDS, beats.next_at(), due.next_at())
            came = self._grants.poll(max(0.0, next_at - now))
            now = time.monotonic()
            touched = {*due.take(now), *self._take(came, now)}
            self._tell(touched, due, now)
            self._beat(beats.take(now), beats, now)

    def _take(self, came: Iterable[Record], now: float) -> Iterator[int]:
        for record in came:
            granted = workers.grants.decode(record.value)
            number = self._numbers.get(granted.session_id)
            if number is not None:
                self.all[number].take(granted, now)
                yield number

    def _tell(self, touched: Iterable[int], due: Agenda, now: float) -> None:
        records: list[Outgoing] = []
        for number in touched:
            stub = self.all[number]
            if not stub.silent:
                stub.work(now)
                records += stub.news(now)
                due.put(number, stub.next_at())
        self._post(records)

    def _beat(self, numbers: Iterable[int], beats: Agenda, now: float) -> None:
        records: list[Outgoing] = []
        for number in numbers:
            beats.put(number, now + self._period)
            if not self.all[number].silent:
                records.append(self.all[number].heartbeat())
        self._post(records)

    def _post(self, records: list[Outgoing]) -> None:
        def done(error: Exception | None) -> None:
            if error is not None:
                self._failed.append(error)

        self._producer.post(records, done)


def _seconds(grant: Grant, default: float | None) -> float | None:
    """How long it takes; None: for ever."""
    said = grant.spec.get("env", {}).get(SECONDS)
    return default if said is None else float(said)
