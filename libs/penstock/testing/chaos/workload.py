"""Clients of an arena: patient, forgetful and contradictory; each step is written down before it is taken."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any, Final, Literal

import msgspec
import orjson

from penstock.client import Refused
from penstock.core.errors import PenstockError, RetryLater, StopProcess
from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing
from penstock.kafka.tail import TailSource
from penstock.runtime.clock import Clock, SystemClock
from penstock.store import audit, requests
from penstock.testing.chaos.arena import Arena
from penstock.testing.chaos.pipelines import draw_definition, exclusive_definition
from penstock.testing.history import ClientJournal, Folder, PeekJournal, oracle

TENANT: Final = "default"
CALL_SECONDS: Final = 10.0
RECEIPT_SECONDS: Final = 6.0
"""A producer that has no first status record by then sends again."""
AGAIN_SECONDS: Final = 0.3
PEEK_SECONDS: Final = 0.25
CLIENTS: Final = 4

Door = Literal["http", "kafka"]


class Wanted(msgspec.Struct):
    """A pipeline that somebody will ask for, and how he will behave about it."""

    key: str
    definition: dict[str, Any]
    door: Door
    jobs: int
    cancel: Literal["", "pipeline", "job"] = ""
    cancel_seconds: float = 0.0
    """After its acceptance."""
    repeats: bool = False
    contradicts: bool = False


class Workload:
    """Asks for pipelines as long as it is told to, with about `crowd` jobs open at a time."""

    def __init__(self, arena: Arena, folder: Folder, seed: int, *, crowd: int = 60) -> None:
        self._rng = random.Random(seed)
        self._folder = folder
        self._crowd = crowd
        self._clock: Clock = SystemClock()
        self._client = arena.client(call_seconds=CALL_SECONDS)
        self._journal = ClientJournal(folder.path)
        self._producer = Producer(arena.kafka(), "chaos")
        self._receipts = Receipts(arena)
        self._lock = threading.Lock()
        self._db = arena.database()
        self._db_lock = threading.Lock()
        self._enough = threading.Event()
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._live) for _ in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._peek))
        self.asked_jobs = 0
        """Of all pipelines that were begun to be asked for."""
        self.accepted: dict[str, str] = {}
        """Request key -> pipeline id, of those that clients know to be accepted."""
        self.broken: list[str] = []
        """What went wrong in the clients themselves."""

    def __enter__(self) -> Workload:
        self._producer.__enter__()
        self._receipts.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough()
        self._gone.set()
        for thread in self._threads:
            thread.join()
        self._receipts.stop()
        self._producer.__exit__(None, None, None)
        self._journal.close()
        self._db.close()

    def enough(self) -> None:
        """Ask for nothing new; what was begun is brought to its end."""
        self._enough.set()

    @property
    def done(self) -> bool:
        """Whether every client has got through with what it began."""
        return self._enough.is_set() and not any(thread.is_alive() for thread in self._threads[:CLIENTS])

    def nothing_in_kafka_alone(self) -> bool:
        """Whether Postgres has everything that a client was told to be accepted."""
        with self._lock:
            keys = list(self.accepted)[-50:]
        with self._db_lock:
            try:
                return len(requests.known(self._db, [(TENANT, key) for key in keys])) == len(keys)
            except RetryLater:
                return False

    def cancel_something(self) -> None:
        """Cancel one of the newest pipelines, now."""
        with self._lock:
            ids = list(self.accepted.values())[-5:]
            chosen = self._rng.choice(ids) if ids else ""
        if chosen:
            self._cancel(chosen, None)

    def poison(self, topic: str, value: bytes, mark: str) -> None:
        """Send a record that no service can use. Raises RetryLater."""
        op = self._journal.poison(topic, mark)
        self._producer.send([Outgoing(topic, TENANT, value, [])])
        self._journal.ok(op)

    def refused(self, definition: dict[str, Any]) -> int:
        """Ask over HTTP for what is over a limit; the status of its refusal. Raises RetryLater."""
        key = uuid4()
        op = self._journal.ask(key, {"name": "too much"}, expect="rejected")
        try:
            self._client.submit(key, definition=definition)
        except Refused as refused:
            self._journal.fail(op, note=str(refused.status))
            return refused.status
        self._journal.ok(op)
        return 0

    def ask_exclusive(self, seconds: float) -> str:
        """Ask over HTTP for one exclusive job whose first attempt takes so long: the id of its pipeline."""
        return self._ask(uuid4(), exclusive_definition(self._folder.runs, seconds), "http")

    def has_begun(self, job_id: str, attempt: int) -> bool:
        """Whether an attempt has written down its start."""
        journal = self._folder.runs / job_id
        return journal.exists() and f"start {attempt} " in journal.read_text("utf-8")

    def _live(self) -> None:
        while not self._enough.is_set():
            if self._too_many():
                self._clock.sleep(AGAIN_SECONDS, self._enough)
                continue
            with self._lock:
                wanted = self._draw()
                self.asked_jobs += wanted.jobs
            try:
                self._go_through(wanted)
            except Exception as error:  # noqa: BLE001 - a client that dies would make the run look well
                self.broken.append(f"{wanted.key}: {type(error).__name__}: {error}")

    def _too_many(self) -> bool:
        with self._db_lock:
            try:
                return audit.open_jobs(self._db) >= self._crowd
            except RetryLater:
                return False  # that is when it matters that clients come

    def _draw(self) -> Wanted:
        rng = self._rng
        definition = draw_definition(rng, f"p{len(self.accepted)}", self._folder.runs)
        return Wanted(
            key=uuid4(rng.randbytes),
            definition=definition,
            door=rng.choice(("http", "http", "kafka")),
            jobs=len(oracle.expanded(definition)),
            cancel=rng.choice(("pipeline", "job")) if rng.random() < 0.12 else "",
            cancel_seconds=rng.choice((0.0, 0.1, 0.5, 2.0)),
            repeats=rng.random() < 0.15,
            contradicts=rng.random() < 0.05,
        )

    def _go_through(self, wanted: Wanted) -> None:
        pipeline_id = self._ask(wanted.key, wanted.definition, wanted.door)
        if not pipeline_id:
            return
        with self._lock:
            self.accepted[wanted.key] = pipeline_id
        if wanted.repeats:
            self._ask(wanted.key, wanted.definition, self._rng.choice(("http", "kafka")))
        if wanted.contradicts:
            self._contradict(wanted)
        if wanted.cancel:
            self._clock.sleep(wanted.cancel_seconds, self._gone)
            job_id = self._some_job(pipeline_id) if wanted.cancel == "job" else None
            self._cancel(pipeline_id, job_id)

    def _ask(self, key: str, definition: dict[str, Any], door: Door) -> str:
        """Until there is an answer that says yes: the pipeline's id."""
        while not self._gone.is_set():
            op = self._journal.ask(key, definition, door=door)
            try:
                answered = (
                    self._by_http(key, definition) if door == "http" else self._by_kafka(key, definition)
                )
            except RetryLater as error:
                self._journal.info(op, note=str(error))
                self._clock.sleep(AGAIN_SECONDS * self._rng.uniform(0.5, 2.0), self._gone)
                continue
            self._journal.ok(op, pipeline_id=answered)
            return answered
        return ""

    def _by_http(self, key: str, definition: dict[str, Any]) -> str:
        receipt = self._client.submit(key, definition=definition)
        return receipt.get("pipeline_id") or self._receipts.wait(key, RECEIPT_SECONDS)

    def _by_kafka(self, key: str, definition: dict[str, Any]) -> str:
        request = {"tenant": TENANT, "request_id": key, "definition": definition}
        self._producer.send([Outgoing(topics.PIPELINES_REQUESTED.name, TENANT, orjson.dumps(request), [])])
        return self._receipts.wait(key, RECEIPT_SECONDS)

    def _contradict(self, wanted: Wanted) -> None:
        other = {**wanted.definition, "name": "another"}
        op = self._journal.ask(wanted.key, other, expect="conflict")
        try:
            self._client.submit(wanted.key, definition=other)
        except Refused as refused:
            self._journal.fail(op, note=str(refused.status))
        except RetryLater as error:
            self._journal.info(op, note=str(error))
        else:
            self._journal.ok(op)

    def _some_job(self, pipeline_id: str) -> str | None:
        """None while there is none."""
        with contextlib.suppress(PenstockError):
            if there := [job["job_id"] for job in self._client.jobs(pipeline_id)]:
                return self._rng.choice(there)
        return None

    def _cancel(self, pipeline_id: str, job_id: str | None) -> None:
        for _ in range(20):
            op = self._journal.cancel(pipeline_id, job_id)
            try:
                if job_id is None:
                    self._client.cancel_pipeline(pipeline_id, "chaos")
                else:
                    self._client.cancel_job(job_id, "chaos")
            except Refused as refused:
                self._journal.fail(op, note=str(refused.status))
                return
            except RetryLater as error:
                self._journal.info(op, note=str(error))
                self._clock.sleep(AGAIN_SECONDS, self._gone)
            else:
                self._journal.ok(op)
                return

    def _peek(self) -> None:
        """Looks at one of the newest pipelines again and again, and writes down what it is shown."""
        with PeekJournal(self._folder.path) as journal:
            while not self._clock.sleep(PEEK_SECONDS, self._gone):
                with self._lock:
                    ids = list(self.accepted.values())[-8:]
                    chosen = self._rng.choice(ids) if ids else ""
                if not chosen:
                    continue
                with contextlib.suppress(PenstockError):
                    for job in self._client.jobs(chosen):
                        journal.saw("http", job["job_id"], job["version"], job["state"])


class Receipts:
    """What a producer listens to: the status records of its pipelines."""

    def __init__(self, arena: Arena) -> None:
        self._source = TailSource(arena.kafka(), [topics.PIPELINES_STATUS.name], name="chaos-receipts")
        self._known: dict[str, str] = {}
        self._refused: dict[str, Any] = {}
        self._news = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        self._thread.join()

    def wait(self, key: str, seconds: float) -> str:
        """The id of the pipeline of this key.

        Raises:
            RetryLater: none was told of in time.
            StopProcess: it was refused, which nobody who asks here expects.
        """
        with self._news:
            if not self._news.wait_for(lambda: key in self._known or key in self._refused, seconds):
                raise RetryLater(f"no status record of {key} within {seconds:.0f} s", component="kafka")
            if key not in self._known:
                raise StopProcess(f"{key} was refused: {self._refused[key]}")
            return self._known[key]

    def _listen(self) -> None:
        while not self._stopping.is_set():
            records = self._source.poll(0.2)
            if not records:
                continue
            with self._news:
                for record in records:
                    status = orjson.loads(record.value or b"{}")
                    if status.get("state") == "REJECTED":
                        self._refused[status["request_id"]] = status
                    else:
                        self._known[status["request_id"]] = status["pipeline_id"]
                self._news.notify_all()
        self._source.close()
