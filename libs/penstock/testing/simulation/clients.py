"""Clients: who asks for pipelines at both doors, repeats itself, contradicts itself, and cancels."""

from __future__ import annotations

import contextlib
import random
from typing import Any, Final

import msgspec

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4, uuid7
from penstock.definition.request import read_request
from penstock.events import cancels, pipelines, topics
from penstock.events.codec import encode
from penstock.events.pipelines import PipelineRequested
from penstock.kafka.records import Outgoing
from penstock.store import jobs, requests
from penstock.testing.history import past
from penstock.testing.history.past import Door, Wish
from penstock.testing.simulation.faults import FaultySender
from penstock.testing.simulation.world import EXCLUSIVE_GRACE_SECONDS, World

TENANT: Final = "default"


class Ask(msgspec.Struct):
    """One request key: what was asked for first, and what is known of it."""

    key: str
    definition: dict[str, Any]
    due: float
    """Monotonic time at which it is asked for."""
    door: Door
    pipeline_id: str = ""
    """The client's own, or what the first answer said."""
    accepted: bool = False
    """A 2xx, or Kafka's ack."""


class Client:
    """Does one thing at a time, and again until it has an answer."""

    name = "client"

    def __init__(self, world: World, asks: list[Ask]) -> None:
        self.world = world
        self.asks = asks
        self.wishes: list[Wish] = []
        self.conflicts: list[past.Ask] = []
        """Requests at the door of Kafka that contradict an earlier one."""
        self.away_until = 0.0
        self._sender = FaultySender(world, self, boundary=False)
        self._cancels = world.rng.choice((0.0, 0.02, 0.06))
        self._repeats = world.rng.choice((0.0, 0.02, 0.1))

    @property
    def done(self) -> bool:
        """Whether everything was asked for and accepted."""
        return all(ask.accepted for ask in self.asks)

    def act(self) -> None:
        """Ask for what is due; now and then repeat, contradict or cancel."""
        world = self.world
        for ask in self.asks:
            if not ask.accepted and (world.healing or world.clock.monotonic() >= ask.due):
                self._ask(ask)
        known = [ask for ask in self.asks if ask.accepted]
        if known and world.chance(self._repeats):
            self._repeat(world.rng.choice(known))
        if known and world.chance(self._cancels):
            self._cancel(world.rng.choice(known))

    def die(self) -> None:
        """It never does."""

    def freeze(self) -> None:
        """It is in no group."""

    def stall_seconds(self, rng: random.Random) -> float:
        """See `Actor.stall_seconds`."""
        return rng.choice((0.5, 2.0))

    def _ask(self, ask: Ask) -> None:
        try:
            if ask.door == "http":
                self._receive(ask)
            else:
                self._sender.send([_record(ask.key, ask.definition, ask.pipeline_id)])
        except RetryLater:
            return
        ask.accepted = True
        self.world.tell(self.name, f"asked for {ask.definition['name']} over {ask.door}")

    def _receive(self, ask: Ask) -> None:
        """As the gateway does: a row, then the hint."""
        world = self.world
        own = ask.pipeline_id or uuid7(world.clock.now(), world.rng.randbytes)
        record = _record(ask.key, ask.definition, own)
        digest = read_request(_request(ask.key, ask.definition, own), now=world.clock.now()).digest
        self._reach()
        world.show_time()
        answer = requests.receive(
            world.db,
            tenant=TENANT,
            key=ask.key,
            digest=digest,
            pipeline_id=own,
            body=(record.value or b"").decode(),
            publish_seconds=2.0,
        )
        self._hear()
        ask.pipeline_id = answer["pipeline_id"]
        if answer["outcome"] == "new" and not world.chance(world.rates.lose):
            self._sender.post([record], lambda _error: None)

    def _repeat(self, ask: Ask) -> None:
        """The same again at either door; or under the same key something else."""
        world = self.world
        definition = ask.definition
        if world.rng.random() < 0.2:
            definition = {**definition, "name": "other"}
            conflict = past.Ask(key=ask.key, definition=definition, door="kafka", expect="conflict")
            self.conflicts.append(conflict)
        own = ask.pipeline_id if world.rng.random() < 0.5 else ""
        world.tell(self.name, f"repeats {ask.definition['name']} as {definition['name']}")
        self._sender.post([_record(ask.key, definition, own)], lambda _error: None)

    def _cancel(self, ask: Ask) -> None:
        world = self.world
        pipeline_id = ask.pipeline_id or self._look_up(ask)
        if not pipeline_id:
            return
        there = sorted(jobs.states(world.db, pipeline_id))
        job_id = world.rng.choice(there) if there and world.rng.random() < 0.5 else None
        wish = Wish(pipeline_id=pipeline_id, job_id=job_id, outcome="info", asked_at=world.clock.now())
        self.wishes.append(wish)
        with contextlib.suppress(RetryLater):  # nobody knows: it may come true
            self._wish(wish)
        of = f"{ask.definition['name']} {job_id and job_id[-4:]}"
        world.tell(self.name, f"cancels {of} over {wish.door}: {wish.outcome}")

    def _wish(self, asked: Wish) -> None:
        world = self.world
        pipeline_id, job_id = asked.pipeline_id, asked.job_id
        wish = cancels.CancelRequested(tenant=TENANT, pipeline_id=pipeline_id, job_id=job_id or "")
        record = Outgoing(topics.CANCEL_REQUESTED.name, pipeline_id, encode(wish), [])
        if job_id is None and world.rng.random() < 0.5:
            asked.door = "kafka"
            self._sender.send([record])
            asked.outcome = "ok"
            return
        self._reach()
        world.show_time()
        answer = requests.request_cancel(
            world.db,
            cancel_id=uuid4(world.rng.randbytes),
            tenant=TENANT,
            pipeline_id=None if job_id else pipeline_id,
            job_id=job_id,
            reason="",
            requested_by="",
        )
        self._hear()
        asked.outcome = "ok" if answer["outcome"] == "received" else "fail"
        if answer["outcome"] == "received" and not world.chance(world.rates.lose):
            self._sender.post([record], lambda _error: None)

    def _look_up(self, ask: Ask) -> str:
        known = requests.known(self.world.db, [(TENANT, ask.key)])
        return str(known[TENANT, ask.key]["pipeline_id"]) if known else ""

    def _reach(self) -> None:
        if self.world.chance(self.world.rates.fail_before):
            raise RetryLater("simulated", component="postgres")

    def _hear(self) -> None:
        if self.world.chance(self.world.rates.fail_after):
            raise RetryLater("simulated, and done all the same", component="postgres")


def draw_asks(world: World) -> list[Ask]:
    """One to three small pipelines."""
    rng = world.rng
    asks = [
        Ask(
            key=uuid4(rng.randbytes),
            definition=_draw_definition(rng, f"p{number}"),
            due=rng.uniform(0.0, 6.0),
            door=rng.choice(("http", "kafka")),
            pipeline_id=uuid7(world.clock.now(), rng.randbytes) if rng.random() < 0.3 else "",
        )
        for number in range(rng.choice((1, 2, 2, 3)))
    ]
    if world.exclusive:
        _make_exclusive(world.seed, asks)
    if world.locked:
        _make_locked(world.seed, asks)
    return asks


def _make_exclusive(seed: int, asks: list[Ask]) -> None:
    """One job of three, by a chance of their own."""
    rng = random.Random(f"{seed}/exclusive jobs")
    for ask in asks:
        for job in ask.definition["jobs"].values():
            if rng.random() < 0.33:
                job.update(exclusive=True, timeout={"cancel-grace": f"{EXCLUSIVE_GRACE_SECONDS:g}s"})


def _make_locked(seed: int, asks: list[Ask]) -> None:
    """Two jobs of three take one or both of two locks, some others have a matrix; pipelines share a group."""
    rng = random.Random(f"{seed}/locked jobs")
    for ask in asks:
        if rng.random() < 0.4:
            ask.definition["concurrency"] = {"group": "one", "queue": rng.choice(("all", "all", "latest"))}
            if rng.random() < 0.2:
                ask.definition["concurrency"] = {"group": "one", "cancel-in-progress": True}
        for job in ask.definition["jobs"].values():
            if rng.random() < 0.66:
                names = rng.sample(("red", "blue"), rng.choice((1, 1, 2)))
                modes = ("exclusive", "exclusive", "shared")
                job["locks"] = [{"name": name, "mode": rng.choice(modes)} for name in names]
                job["timeout"] = {"cancel-grace": f"{EXCLUSIVE_GRACE_SECONDS:g}s"}
            elif rng.random() < 0.5:
                most = rng.choice(({}, {"max-parallel": 1}))
                job["strategy"] = {"matrix": {"cell": ["a", "b"]}, "fail-fast": rng.random() < 0.7, **most}


def _draw_definition(rng: random.Random, name: str) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    for number in range(rng.choice((2, 3, 4, 6))):
        needs = rng.sample(sorted(drawn), min(len(drawn), rng.choice((0, 1, 1, 2, 3))))
        job: dict[str, Any] = {"executor": "simulated", "needs": needs}
        if (needs and rng.random() < 0.3) or rng.random() < 0.03:
            job["if"] = rng.choice(("always()", "failure()", "success()"))
        if rng.random() < 0.2:
            job["continue-on-error"] = True
        if rng.random() < 0.4:
            job["retry"] = {"max": rng.choice((1, 2))}
        drawn[f"j{number}"] = job
    return {"name": name, "jobs": drawn}


def _request(key: str, definition: dict[str, Any], pipeline_id: str) -> PipelineRequested:
    return PipelineRequested(
        tenant=TENANT, request_id=key, definition=definition, pipeline_id=pipeline_id or ""
    )


def _record(key: str, definition: dict[str, Any], pipeline_id: str) -> Outgoing:
    value = encode(_request(key, definition, pipeline_id))
    headers = [("ce_type", pipelines.REQUESTED_TYPE.encode()), ("ce_id", key.encode())]
    return Outgoing(topics.PIPELINES_REQUESTED.name, TENANT, value, headers)
