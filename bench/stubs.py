"""Stub runners: they hold what they are granted by the runner protocol, and run nothing."""

from __future__ import annotations

import threading
import time

from bench.field import Field
from penstock.core.ids import uuid7
from penstock.events import topics, workers
from penstock.events.codec import encode
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing
from penstock.kafka.tail import TailSource

LOOK_SECONDS = 0.05


class Stub:
    """One session."""

    def __init__(self, number: int, slots: int) -> None:
        self.session = uuid7(time.time())
        self.name = f"stub-{number}"
        self.slots = slots
        self.beats = 0
        self.silent = False
        self.last_beat = 0.0
        """Unix seconds."""
        self.held: dict[tuple[str, int], workers.Held] = {}

    def take(self, granted: workers.Grants) -> None:
        """Everything granted is started at once; the next heartbeat says so."""
        for grant in granted.grants:
            key = (grant.job_id, grant.attempt)
            if not self.silent:
                self.held.setdefault(key, workers.Held(*key, grant.token, "started"))

    def heartbeat(self) -> Outgoing:
        """The whole truth."""
        self.beats += 1
        self.last_beat = time.time()
        beat = workers.Heartbeat(
            session_id=self.session,
            n=self.beats,
            name=self.name,
            pool="default",
            slots=self.slots,
            state="BUSY" if self.held else "IDLE",
            executors=["noop"],
            held=list(self.held.values()),
        )
        return Outgoing(topics.WORKERS_HEARTBEATS.name, self.session, encode(beat), [])


class Stubs:
    """Many sessions in one thread, their heartbeats spread over the period."""

    def __init__(self, field: Field, count: int, slots: int) -> None:
        self.all = [Stub(number, slots) for number in range(count)]
        self._by_session = {stub.session: stub for stub in self.all}
        self._period = field.heartbeat
        self._producer = Producer(field.subject.kafka, name="stubs")
        self._grants = TailSource(field.subject.kafka, [topics.WORKERS_GRANTS.name], name="stubs")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stubs", daemon=True)

    def __enter__(self) -> Stubs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._producer.close()

    def held(self) -> int:
        """Attempts that all of them hold."""
        return sum(len(stub.held) for stub in self.all)

    def _run(self) -> None:
        try:
            self._live()
        finally:
            self._grants.close()

    def _live(self) -> None:
        began = time.monotonic()
        due = [(began + self._period * n / len(self.all), stub) for n, stub in enumerate(self.all)]
        while not self._stopping.is_set():
            for record in self._grants.poll(LOOK_SECONDS):
                granted = workers.grants.decode(record.value)
                if (stub := self._by_session.get(granted.session_id)) is not None:
                    stub.take(granted)
            now = time.monotonic()
            beating = [stub for at, stub in due if at <= now and not stub.silent]
            due = [(at + self._period if at <= now else at, stub) for at, stub in due]
            if beating:
                self._producer.send([stub.heartbeat() for stub in beating])
