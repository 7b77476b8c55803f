"""A gateway on a real Postgres and an in-memory bus, with intake and canceller beside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import pytest
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.kafka import publish
from penstock.kafka.batches import Outcome
from penstock.kafka.memory import MemoryBus
from penstock.logs.settings import LogSettings
from penstock.objects.definitions import StoredDefinitions
from penstock.objects.memory import MemoryObjects
from penstock.runtime.run import Process
from penstock.runtime.settings import (
    KafkaSettings,
    ObjectSettings,
    PostgresSettings,
    ProcessSettings,
)
from penstock.store import jobs, queries, requests, tenants
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.store.pool import Pool
from penstock.store.roles import role_of
from penstock.testing.databases import fresh_database
from penstock.testing.servers import Servers
from penstock_services.canceller.handle import Canceller
from penstock_services.gateway.app import make_app
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.server import listening
from penstock_services.gateway.settings import GatewaySettings
from penstock_services.gateway.shelf import LogShelf, tail_session
from penstock_services.gateway.watch import TOPICS, Watch
from penstock_services.intake.handle import Intake

T = TypeVar("T")
PARTITIONS = 4
POLICY = jobs.Policy(retry_base=0.001, retry_cap=0.001)
TOKENS = {
    "acme": ("acme", ("read", "write")),
    "reader": ("acme", ("read",)),
    "writer": ("acme", ("write",)),
    "admin": ("acme", ("admin",)),
    "rival": ("rival", ("read", "write")),
}


class Control:
    """Intake and canceller in a thread, until they are paused; what they may not read waits."""

    def __init__(self, bus: MemoryBus, dsn: str, objects: MemoryObjects) -> None:
        self._on = threading.Event()
        self._on.set()
        self._paused = threading.Event()
        self._closing = threading.Event()
        self._bus = bus
        self._db = Database(dsn, "control")
        self._intake = Intake(self._db, StoredDefinitions(objects), actor="intake-0", open_tenancy=False)
        self._canceller = Canceller(self._db, actor="canceller-0", sweep_seconds=3600)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """From now on nothing is read."""
        self._on.clear()
        self._paused.wait()

    def go_on(self) -> None:
        """The end of a pause."""
        self._paused.clear()
        self._on.set()

    def close(self) -> None:
        self._closing.set()
        self._on.set()
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        source = self._bus.group([topics.PIPELINES_REQUESTED.name, topics.CANCEL_REQUESTED.name], "control")
        sender = self._bus.sender()
        while not self._closing.is_set():
            if not self._on.is_set():
                self._paused.set()
                self._on.wait()
            batch = source.poll(0.02)
            wanted = [one for one in batch if one.topic == topics.PIPELINES_REQUESTED.name]
            cancels = [one for one in batch if one.topic == topics.CANCEL_REQUESTED.name]
            now = self._bus.clock.now()
            outcomes = [self._intake.step(wanted, now)] if wanted else []
            outcomes += [self._canceller.step(cancels, now)] if cancels else []
            for outcome in outcomes:
                assert isinstance(outcome, Outcome)
                sender.send(outcome.records)
        source.close()


class House:
    """A running gateway, and what a test does to it."""

    def __init__(self, dsn: str, url: str, session: ClientSession, gateway: Gateway) -> None:
        self.dsn = dsn
        self.url = url
        self.session = session
        self.gateway = gateway
        self.db = Database(dsn, "test")
        self._responses: list[ClientResponse] = []
        self.bus: MemoryBus
        self.objects: MemoryObjects
        self.control: Control

    async def call(
        self, method: str, path: str, *, token: str | None = "acme", **more: Any
    ) -> ClientResponse:
        """One call, by the token of that name; `headers` come on top."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers |= more.pop("headers", {})
        # Paths are given as they go over the wire.
        url = URL(self.url + path, encoded=True)
        response = await self.session.request(method, url, headers=headers, **more)
        self._responses.append(response)
        return response

    def close(self) -> None:
        """Leave nothing open, whatever a test has read to its end."""
        for response in self._responses:
            response.close()
        self.db.close()

    async def get(self, path: str, status: int = 200, **more: Any) -> Any:
        """A GET that answers JSON."""
        async with await self.call("GET", path, **more) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def post(self, path: str, body: Any = None, status: int = 201, **more: Any) -> Any:
        """A POST of JSON that answers JSON."""
        if body is not None:
            more["json"] = body
        async with await self.call("POST", path, **more) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)

    async def until(self, seen: Callable[[], T]) -> T:
        """What `seen` returns as soon as it is something."""
        while not (found := seen()):  # noqa: ASYNC110 - another thread's work has no event
            await asyncio.sleep(0.01)
        return found

    async def submit(self, definition: Any, **more: Any) -> str:
        """A new pipeline's id."""
        answer = await self.post("/v1/pipelines", {"definition": definition, **more})
        return str(answer["pipeline_id"])

    async def jobs_of(self, pipeline_id: str) -> dict[str, dict[str, Any]]:
        """The jobs of a pipeline by name."""
        answer = await self.get(f"/v1/pipelines/{pipeline_id}/jobs")
        return {job["name"]: job for job in answer["jobs"]}

    async def until_state(self, pipeline_id: str, state: str) -> None:
        """Wait until the pipeline is in this state."""
        path = f"/v1/pipelines/{pipeline_id}"
        while (await self.get(path))["state"] != state:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    def state_of(self, job_id: str) -> str:
        """The state of a job."""
        found = queries.job(self.db, "acme", job_id)
        assert found is not None
        return str(found["state"])

    def claim(self, job_id: str) -> str:
        """Claim a job; returns its token."""
        token, session = uuid4(), uuid4()
        changes = Changes()
        one = {"job_id": job_id, "token": token, "session_id": session, "n": 1}
        assert jobs.claim(self.db, changes, [one], lease_seconds=60, actor="test").won == [job_id]
        self._publish(changes)
        return token

    def start(self, job_id: str, token: str) -> None:
        changes = Changes()
        jobs.start(self.db, changes, [{"job_id": job_id, "token": token}], ttl_seconds=60, actor="test")
        self._publish(changes)

    def finish(self, job_id: str, token: str, *, success: bool = True, quietly: bool = False) -> None:
        """End an attempt; quietly: Kafka never hears of it."""
        changes = Changes()
        report = {
            "job_id": job_id,
            "token": token,
            "success": success,
            "ran": True,
            "exit_code": 0 if success else 1,
            "reason": None if success else "exit-code",
            "duration_ms": 12,
            "last_seq": 3,
            "jitter": 0.5,
        }
        assert jobs.finish(self.db, changes, [report], policy=POLICY, actor="test") == {job_id}
        if not quietly:
            self._publish(changes)

    def run(self, job_id: str, *, success: bool = True, quietly: bool = False) -> None:
        """A whole attempt."""
        token = self.claim(job_id)
        self.start(job_id, token)
        self.finish(job_id, token, success=success, quietly=quietly)

    def resolve(self, job_id: str, becomes: str) -> None:
        """What the advancer does with a job whose needs have ended."""
        changes = Changes()
        decision = {"job_id": job_id, "becomes": becomes, "reason": None}
        jobs.resolve(self.db, changes, [decision], actor="test")
        self._publish(changes)

    def reject(self, rejection: dict[str, Any]) -> None:
        """What intake does with a request that it refuses."""
        changes = Changes()
        requests.reject(self.db, changes, [rejection], actor="test")
        self._publish(changes)

    def _publish(self, changes: Changes) -> None:
        self.bus.sender().send(publish.records(changes, "test"))


def settings(dsn: str, **more: Any) -> GatewaySettings:
    return GatewaySettings(
        process=ProcessSettings(),
        kafka=KafkaSettings(kafka_bootstrap="127.0.0.1:1"),
        postgres=PostgresSettings(postgres_dsn=dsn),
        objects=ObjectSettings(s3_access_key="", s3_secret_key=""),
        logs=LogSettings(),
        **{"acceptance_wait_seconds": 20.0, "stream_sweep_seconds": 0.2, **more},
    )


@pytest.fixture(scope="session")
def tokens(real_servers: Servers) -> Iterator[str]:
    """A database for all of these tests, in which every name of TOKENS is a token."""
    with fresh_database(real_servers.postgres.postgres_dsn) as dsn:
        database = Database(dsn, "test")
        for token, (tenant, scopes) in TOKENS.items():
            tenants.create_tenant(database, tenant)
            tenants.add_token(database, token, tenant=tenant, name=token, scopes=scopes)
        database.close()
        yield dsn


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(partitions=PARTITIONS)


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def control(bus: MemoryBus, tokens: str, objects: MemoryObjects) -> Iterator[Control]:
    running = Control(bus, tokens, objects)
    yield running
    running.close()


@pytest.fixture
async def house(
    bus: MemoryBus, tokens: str, objects: MemoryObjects, control: Control
) -> AsyncIterator[House]:
    # Under the grants that it has in earnest.
    as_role = f"{tokens}?options=-c%20role%3D{role_of('gateway')}"
    pool, log_pool = Pool(as_role, "gateway", size=4), Pool(as_role, "logs", size=2)
    tails = tail_session()
    gateway = Gateway(
        settings=settings(tokens),
        process=Process("gateway", "gateway-0"),
        pool=pool,
        sender=bus.sender(),
        definitions=StoredDefinitions(objects),
        watch=Watch(lambda: bus.tail(TOPICS)),
        logs=LogShelf(log_pool, objects, tails, PARTITIONS, close_seconds=60.0),
    )
    watching = asyncio.create_task(gateway.watch.run())
    await gateway.watch.connected.wait()
    async with listening(make_app(gateway), "127.0.0.1", 0) as port, ClientSession() as session:
        found = House(tokens, f"http://127.0.0.1:{port}", session, gateway)
        found.bus, found.objects, found.control = bus, objects, control
        yield found
        found.close()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await tails.close()
    pool.close()
    log_pool.close()
