"""Whole stacks: `penstock up` in a folder of its own, with clocks fast enough for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from penstock.local.folder import NAME, StackFolder
from penstock.local.process import is_alive
from penstock.local.record import ProcessRecord, read_record
from penstock.local.stack import Stack, read_stack
from penstock.store.database import Database
from penstock.testing.servers import Stack as OwnStack

CLOCKS = {
    "PENSTOCK_HEARTBEAT_SECONDS": "1",
    "PENSTOCK_SESSION_TTL_SECONDS": "3",
    "PENSTOCK_SCAN_SECONDS": "0.5",
    "PENSTOCK_EXCLUSIVE_SECONDS": "20",
    "PENSTOCK_SWEEP_SECONDS": "2",
    "PENSTOCK_RETRY_BASE_SECONDS": "0.1",
    "PENSTOCK_REPORT_RETRY_SECONDS": "2",
    "PENSTOCK_FRAME_RETRY_SECONDS": "4",
    "PENSTOCK_DRAIN_SECONDS": "1",
    # A busy machine takes its time; an answer 202 would be right then, and is not what tests want to see.
    "PENSTOCK_ACCEPTANCE_WAIT_SECONDS": "30",
}
WAIT_SECONDS = 120.0
TEST_SECONDS = 400.0
"""Most that a test may take which does not say itself: it may be the one that starts the stack."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


class Client:
    """A user's programs: a bare producer and consumer, and a look at the truth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack: Stack = read_stack(folder)
        self.db = Database(self.stack.postgres.dsn, "test")
        self._producer = Producer({"bootstrap.servers": self.stack.kafka.bootstrap})

    def close(self) -> None:
        self.db.close()
        del self._producer  # it would go on looking for its broker

    def produce(self, topic: str, key: str, value: Any) -> None:
        """One record with key and value only, as the plainest of clients sends it."""
        data = value if isinstance(value, bytes) else orjson.dumps(value)
        failures: list[Any] = []
        self._producer.produce(
            topic, key=key, value=data, on_delivery=lambda error, _: failures.append(error)
        )
        assert self._producer.flush(30) == 0
        assert failures == [None]

    def submit(self, definition: dict[str, Any] | str, request_id: str, **more: Any) -> None:
        """Ask for a pipeline by the event door."""
        form = "definition_yaml" if isinstance(definition, str) else "definition"
        request = {"tenant": "default", "request_id": request_id, form: definition, **more}
        self.produce("penstock.pipelines.requested", "default", request)

    def wait(self, *request_ids: str, seconds: float = WAIT_SECONDS) -> dict[str, str]:
        """Terminal state of each request's pipeline."""

        def states() -> dict[str, str]:
            rows = self.db.rows(
                "SELECT request_id, state FROM pipelines WHERE request_id = ANY(%s)"
                " AND state IN ('REJECTED', 'SUCCESS', 'FAILED', 'CANCELLED')",
                (list(request_ids),),
            )
            return dict(rows)

        until(lambda: len(states()) == len(request_ids), seconds, lambda: str(states()))
        return states()

    def jobs(self, request_id: str) -> dict[str, tuple[str, str | None]]:
        """Job name -> (state, reason)."""
        rows = self.db.rows(
            "SELECT j.name, j.state, j.reason FROM jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id"
            " WHERE p.request_id = %s",
            (request_id,),
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def job_id(self, request_id: str, name: str) -> str:
        """The id of a job."""
        found = self.db.one(
            "SELECT j.id::text FROM jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id"
            " WHERE p.request_id = %s AND j.name = %s",
            (request_id, name),
        )
        assert found is not None
        return str(found)

    def log(self, request_id: str, name: str, accept: str = "text/plain") -> bytes:
        """The log of a job's last attempt to its end: by default what it printed."""
        request = urllib.request.Request(
            f"{self.stack.gateway.url}/v1/jobs/{self.job_id(request_id, name)}/logs?follow=true",
            headers={"Authorization": f"Bearer {self.stack.token}", "Accept": accept},
        )
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            data: bytes = answer.read()
        return data

    def topic(self, name: str) -> list[dict[str, Any]]:
        """The value of every record of a topic, in the order of its partitions and offsets."""
        return [orjson.loads(value) for value in self.raw(name)]

    def raw(self, name: str, newest: int = sys.maxsize) -> list[bytes]:
        """The same, as bytes; the newest so many of each partition."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.stack.kafka.bootstrap,
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
            }
        )
        try:
            partitions = consumer.list_topics(name, timeout=30).topics[name].partitions
            ends: dict[int, tuple[int, int]] = {}
            for number in partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=30)
                ends[number] = (max(low, high - newest), high)
            consumer.assign([TopicPartition(name, number, low) for number, (low, _) in ends.items()])
            left = sum(high - low for low, high in ends.values())
            found: list[tuple[int, int, bytes]] = []
            while left:
                for message in consumer.consume(min(left, 1000), 1.0):
                    assert message.error() is None
                    if message.offset() < ends[message.partition()][1]:
                        left -= 1
                        found.append((message.partition(), message.offset(), message.value() or b""))
            found.sort(key=lambda one: one[:2])
            return [value for _, _, value in found]
        finally:
            consumer.close()

    def published(self) -> None:
        """Wait until all pipelines have ended and every record of them is on its topic."""
        left = "SELECT (SELECT count(*) FROM open_pipelines) + (SELECT count(*) FROM outbox)"
        until(lambda: self.db.one(left) == 0)

    def component(self, name: str, replica: int = 0) -> ProcessRecord:
        """A component, as its supervisor sees it."""
        record = read_record(StackFolder(self.folder / NAME))
        assert record is not None
        return next(one for one in record.components if (one.name, one.replica) == (name, replica))

    def ready(self, name: str, replica: int = 0) -> int:
        """Process of a component, once it is ready."""

        def there() -> bool:
            one = self.component(name, replica)
            return one.state == "ready" and is_alive(one.child)

        until(there, told=lambda: str(self.component(name, replica)))
        return self.component(name, replica).pid

    def kill(self, name: str, replica: int = 0) -> None:
        """SIGKILL for a component that is ready."""
        os.kill(self.ready(name, replica), signal.SIGKILL)


def until(
    done: Callable[[], bool], seconds: float = WAIT_SECONDS, told: Callable[[], str] = lambda: ""
) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"did not come within {seconds:.0f} s {told()}"
        time.sleep(0.05)


@contextlib.contextmanager
def running(*words: str, **environ: str) -> Iterator[Client]:
    """A stack of its own for a test module."""
    stack = OwnStack(list(words), {**CLOCKS, **environ})
    try:
        stack.wait()
        client = Client(stack.folder)
        try:
            yield client
        finally:
            client.close()
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """The stack that most end-to-end tests share."""
    with running("--slots=8") as made:
        yield made


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    return until


@pytest.fixture(scope="session")
def start_stack() -> Callable[..., contextlib.AbstractContextManager[Client]]:
    """For tests that need a stack of their own."""
    return running
