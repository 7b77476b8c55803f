"""One trial: what a play is given to ask, break and look with, and the history that is left of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from penstock.client import Refused
from penstock.core.errors import RetryLater, StopProcess
from penstock.core.ids import uuid4
from penstock.events import topics, workers
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Record
from penstock.runtime.clock import SystemClock
from penstock.store import audit, setup
from penstock.store.audit import Books
from penstock.testing.chaos import hooks
from penstock.testing.chaos.arena import EXCLUSIVE_SECONDS, SCAN_SECONDS, TTL_SECONDS, Arena
from penstock.testing.chaos.collect import logs
from penstock.testing.chaos.data_faults import again
from penstock.testing.chaos.mutants.listening import Listener
from penstock.testing.chaos.pipelines import ALONE
from penstock.testing.history.folder import read_runs, topic_record
from penstock.testing.history.past import Ask, Door, Fault, History, Poison, Run, Terms, Wish

TENANT: Final = "default"
PATIENCE_SECONDS: Final = 60.0
"""How long the next step of a play may take to come."""
LOOK_SECONDS: Final = 0.05
LOG_SECONDS: Final = 40.0
"""How long to wait for the end of a log; one that was lost has none."""
STALL: Final = "stall"
"""A service stands still for a moment: nothing may come of it."""
TERMS: Final = Terms(
    ttl_seconds=TTL_SECONDS,
    exclusive_seconds=EXCLUSIVE_SECONDS,
    scan_seconds=SCAN_SECONDS,
    late_seconds=15.0,  # is measured elsewhere: a play shows that it comes, on any machine
    spared=frozenset((STALL, "poison", "repeat")),
)
BODY: Final = """\
LC_ALL=C
file="{runs}/$CI_JOB_ID"
echo "start $CI_ATTEMPT $EPOCHREALTIME" >> "$file"
{alone}for ((n = 1; n <= {lines}; n++)); do echo "$CI_JOB_ID:$CI_ATTEMPT:stdout:$n"; done
gate="{gates}/$CI_JOB_NAME.$CI_ATTEMPT"
until [ -e "$gate" ] || [ -e "{gates}/all" ]; do sleep 0.05; done
code=0
if [ -e "$gate" ]; then code=$(cat "$gate"); fi
echo "end $CI_ATTEMPT $code $EPOCHREALTIME {lines}" >> "$file"
exit $code
"""
"""An attempt runs until its gate is opened, and ends with the number that lies there."""

Row = dict[str, Any]


class Missed(Exception):
    """Something did not come in the time that the trial has patience for."""


class Trial:
    """What a play is given. It asks, breaks and heals; what it did is in the history."""

    def __init__(self, arena: Arena, folder: Path) -> None:
        self.arena = arena
        self._runs, self._gates = folder / "runs", folder / "gates"
        for made in (self._runs, self._gates):
            made.mkdir(parents=True)
            made.chmod(0o777)  # jobs may be another user's
        self._clock = SystemClock()
        self._began = self._clock.now()
        self._asks: list[Ask] = []
        self._wishes: list[Wish] = []
        self._poison: list[Poison] = []
        self._faults: list[Fault] = []
        self._armed: list[tuple[str, str]] = []
        self._listener = Listener(arena.kafka())
        self._producer = Producer(arena.kafka(), "mutants")

    # What a client does

    def job(self, *, lines: int = 2, needs: tuple[str, ...] = (), **more: Any) -> Row:
        """A job whose attempts wait for their gates."""
        alone = ALONE if more.get("exclusive") else ""
        body = BODY.format(runs=self._runs, gates=self._gates, lines=lines, alone=alone)
        return {"shell": "bash", "run": body, "needs": list(needs), **more}

    def ask(self, jobs: dict[str, Row], *, door: Door = "http") -> Ask:
        """Ask for a pipeline, once; what is known of it then."""
        definition = {"name": next(iter(jobs)), "jobs": jobs}
        self._asks.append(Ask(key=uuid4(), definition=definition, door=door, asked_at=self._clock.now()))
        return self.ask_again(self._asks[-1])

    def ask_again(self, ask: Ask) -> Ask:
        """The same request under the same key."""
        try:
            if ask.door == "http":
                receipt = self.arena.client().submit(ask.key, definition=ask.definition)
                if (told := receipt.get("pipeline_id")) and told not in ask.pipeline_ids:
                    ask.pipeline_ids.append(told)
            else:
                request = {"tenant": TENANT, "request_id": ask.key, "definition": ask.definition}
                self.produce(topics.PIPELINES_REQUESTED.name, TENANT, orjson.dumps(request))
        except (RetryLater, StopProcess) as error:  # away; or back, and without topics
            ask.outcome, ask.note = "info", str(error)
        else:
            ask.outcome, ask.answered_at = "ok", self._clock.now()
        return ask

    def cancel(self, ask: Ask, *, tenant: str = TENANT, token: str = "") -> None:
        """Cancel a pipeline over HTTP, in the name of this token's tenant."""
        wish = Wish(pipeline_id=ask.pipeline_ids[0], tenant=tenant, asked_at=self._clock.now())
        self._wishes.append(wish)
        client = self.arena.client()
        if token:
            client = type(client)(client.url, token)
        try:
            client.cancel_pipeline(wish.pipeline_id)
        except Refused as refused:
            wish.outcome, wish.note = "fail", str(refused)
        else:
            wish.outcome = "ok"
        wish.answered_at = self._clock.now()

    def poison(self, topic: str) -> None:
        """A record that nobody can use."""
        mark = uuid4()
        self.produce(topic, TENANT, f"{{not JSON {mark}".encode())
        self._poison.append(Poison(topic=topic, mark=mark, outcome="ok", asked_at=self._clock.now()))
        self._strike("poison", topic)

    def produce(self, topic: str, key: str | bytes | None, value: bytes | None) -> None:
        """One record, acknowledged. Raises RetryLater."""
        self._producer.send([Outgoing(topic, key, value, [])])

    def repeat(self, records: list[Record]) -> None:
        """The same records once more."""
        self._producer.send([again(record) for record in records])
        self._strike("repeat", records[0].topic, bit=len(records))

    def open(self, job: str, attempt: int = 1, code: int = 0) -> None:
        """Let an attempt end like this, now or as soon as it runs."""
        gate = self._gates / f"{job}.{attempt}"
        part = gate.with_suffix(".part")
        part.write_text(str(code))
        part.rename(gate)

    def open_all(self) -> None:
        """Let all attempts end that are left."""
        (self._gates / "all").touch()

    # What is broken

    @contextlib.contextmanager
    def frozen(self, *labels: str, kind: str = "freeze") -> Iterator[None]:
        """These stand still meanwhile."""
        faults = [Fault(kind=kind, target=label, on=self._clock.now()) for label in labels]
        pids = [self.arena.freeze(label) for label in labels]
        self._faults.extend(faults)
        try:
            yield
        finally:
            for fault, stopped in zip(faults, pids, strict=True):
                self.arena.thaw(stopped)
                fault.off, fault.bit = self._clock.now(), len(stopped)

    def stall(self, label: str, seconds: float = 0.3) -> None:
        """Stand still for a moment."""
        with self.frozen(label, kind=STALL):
            self.wait(seconds)

    def kill(self, label: str) -> None:
        """SIGKILL; it is started again."""
        self._strike("kill", label, bit=int(self.arena.kill(label) > 0))

    @contextlib.contextmanager
    def down(self, label: str) -> Iterator[None]:
        """Killed, and not started before this is over."""
        fault = Fault(kind="down", target=label, on=self._clock.now())
        self._faults.append(fault)
        fault.bit = int(self.arena.process(label) > 0)
        self.arena.hold(label)
        try:
            yield
        finally:
            self.arena.release(label)
            fault.off = self._clock.now()

    @contextlib.contextmanager
    def locked(self, ask: Ask) -> Iterator[None]:
        """The row by which a pipeline is counted down is another transaction's."""
        fault = Fault(kind="lock", target=ask.key, on=self._clock.now(), bit=1)
        self._faults.append(fault)
        with contextlib.closing(self.arena.database()) as db, setup.held(db, ask.pipeline_ids[0]):
            yield
        fault.off = self._clock.now()

    def wipe(self) -> None:
        """Kafka dies and forgets everything; back when it has its topics again."""
        fault = Fault(kind="wipe", target="kafka", on=self._clock.now())
        self._faults.append(fault)
        self.arena.wipe_kafka()
        fault.off, fault.bit = self._clock.now(), 1

    def arm(self, label: str, point: str) -> None:
        """It dies when it passes this point the next time."""
        hooks.arm(self.arena.hooks, label, point)
        self._armed.append((label, point))

    def bitten(self, label: str, point: str) -> bool:
        """Whether it died there."""
        return any(
            (bite.instance, bite.point) == (label, point) and bite.at > self._began
            for bite in hooks.bites(self.arena.hooks)
        )

    # What is seen

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.sleep(seconds, threading.Event())

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for what must come. Raises Missed when it does not in time."""
        if not self.within(PATIENCE_SECONDS, done):
            raise Missed(what)

    def within(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Whether it comes in this time."""
        deadline = self._clock.monotonic() + seconds
        while not done():
            if self._clock.monotonic() > deadline:
                return False
            self.wait(LOOK_SECONDS)
        return True

    def books(self) -> Books:
        """All rows, now."""
        return audit.books(self.arena.db)

    def row(self, name: str) -> Row:
        """A job by its name; empty while it is not there."""
        return next((job for job in self.books().jobs if job["name"] == name), {})

    def is_over(self, name: str) -> bool:
        """Whether a job has ended."""
        return self.row(name).get("state") in ("SUCCESS", "FAILED", "CANCELLED", "SKIPPED")

    def is_late(self, name: str) -> bool:
        """Whether something was told of an attempt of this job that was taken back before."""
        books = self.books()
        ids = {job["id"] for job in books.jobs if job["name"] == name}
        return any(one["late"] for one in books.attempts if one["job_id"] in ids)

    def is_settled(self, name: str) -> bool:
        """Whether a runner was told that a report of this job is settled."""
        job_id = str(self.row(name).get("id"))
        records = self.heard(topics.WORKERS_CONTROL.name)
        return any(
            job_id == settled.job_id
            for record in records
            for settled in workers.control.decode(record.value).settled
        )

    def running(self, name: str, attempt: int = 1) -> str:
        """Wait until this attempt runs; the label of its runner."""

        def runs() -> bool:
            job = self.row(name)
            return (
                bool(job)
                and (job["state"], job["attempt"]) == ("RUNNING", attempt)
                and self.began(name, attempt)
            )

        self.until(runs, f"{name} #{attempt} runs")
        books = self.books()
        job = next(job for job in books.jobs if job["name"] == name)
        runner = next(one["name"] for one in books.sessions if one["session_id"] == job["session_id"])
        return str(runner.rpartition("/")[2])

    def began(self, name: str, attempt: int) -> bool:
        """Whether its process has begun."""
        return bool(self._of(name, attempt))

    def ended(self, name: str, attempt: int) -> bool:
        """Whether its process has ended by itself."""
        return any(run.ended_at is not None for run in self._of(name, attempt))

    def heard(self, *names: str) -> list[Record]:
        """What these topics were given since the trial began."""
        heard = self._listener.heard()
        return [record for name in names for record in heard.get(name, ())]

    # What is left

    def history(self, rest_seconds: float) -> History:
        """All is healed: wait so long for rest, then everything that is known."""
        self.within(PATIENCE_SECONDS, self.arena.all_ready)
        healed = self._clock.now()
        self._count_bites()
        rested = self._clock.now() if self.within(rest_seconds, self._is_at_rest) else None
        # In this order: what runners are told to be stored must be in books that are read later.
        read = list(logs(self.arena.client(), self.books(), LOG_SECONDS))
        heard = self._listener.heard()
        return History(
            books=self.books(),
            began_at=self._began,
            healed_at=healed,
            rested_at=rested,
            terms=TERMS,
            asks=self._asks,
            wishes=self._wishes,
            poison=self._poison,
            topics={name: [topic_record(one) for one in records] for name, records in heard.items()},
            runs=read_runs(self._runs),
            faults=self._faults,
            logs={(log.job_id, log.attempt): log for log in read},
        )

    def close(self) -> None:
        """Take back what is armed, let everything end, listen no more."""
        for label, point in self._armed:
            hooks.disarm(self.arena.hooks, label, point)
        self.open_all()
        self._producer.close()
        self._listener.close()

    def _is_at_rest(self) -> bool:
        books = self.books()
        there = {one["request_id"] for one in books.pipelines}
        return (
            all(ask.key in there for ask in self._asks if ask.outcome == "ok")
            and not any(books.left.values())
            and audit.is_quiet(self.arena.db)
            and self._has_letters()
        )

    def _has_letters(self) -> bool:
        """Whether there is a dead letter for each poison."""
        return not self._poison or len(
            self.heard(*{topics.dlq_of(one.topic) for one in self._poison})
        ) >= len(self._poison)

    def _count_bites(self) -> None:
        bites = {(one.instance, one.point): one.at for one in hooks.bites(self.arena.hooks)}
        for label, point in self._armed:
            at, bit = bites.get((label, point), self._began), self.bitten(label, point)
            self._faults.append(Fault(kind=f"kill at {point}", target=label, on=at, off=at, bit=int(bit)))

    def _strike(self, kind: str, target: str, *, bit: int = 1) -> None:
        now = self._clock.now()
        self._faults.append(Fault(kind=kind, target=target, on=now, off=now, bit=bit))

    def _of(self, name: str, attempt: int) -> list[Run]:
        ids = [job["id"] for job in self.books().jobs if job["name"] == name]
        runs = read_runs(self._runs)
        return [run for job_id in ids for run in runs.get((job_id, attempt), ())]
