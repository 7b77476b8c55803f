"""Kafka away, and Kafka wiped, in the middle of everything: nothing is lost (protocol §1, §8)."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from penstock.kafka.dlq import DeadLetters, origin
from penstock.kafka.producer import Producer

pytestmark = pytest.mark.timeout(600)

SLOTS = 4
LINES = 40
RUNS = {"run": f"for i in $(seq {LINES}); do echo line $i; sleep 0.25; done"}
SHORT = {"run": "echo done"}
AWAY_SECONDS = 8.0


@pytest.fixture(scope="module")
def client(start_stack: Callable[..., contextlib.AbstractContextManager[Any]]) -> Iterator[Any]:
    """Servers of its own; a POST is not to wait for an acceptance that cannot come."""
    with start_stack(f"--slots={SLOTS}", PENSTOCK_ACCEPTANCE_WAIT_SECONDS="1") as made:
        yield made


def definition(**jobs: dict[str, Any]) -> dict[str, Any]:
    return {"name": "lost", "jobs": jobs}


def post(client: Any, request_id: str, jobs: dict[str, Any]) -> int:
    """By HTTP; the status."""
    request = urllib.request.Request(
        f"{client.stack.gateway.url}/v1/pipelines",
        orjson.dumps({"request_id": request_id, "definition": definition(**jobs)}),
        {"Authorization": f"Bearer {client.stack.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.status)


def running(client: Any, request_id: str, name: str) -> Callable[[], bool]:
    return lambda: client.jobs(request_id).get(name, ("", None))[0] == "RUNNING"


def started_once(client: Any, request_id: str, name: str) -> bool:
    """Whether the job was claimed only once: nobody took a living one away."""
    attempt = client.db.one(
        "SELECT attempt FROM jobs WHERE id = %s::uuid", (client.job_id(request_id, name),)
    )
    return bool(attempt == 1)


def lines(client: Any, request_id: str, name: str) -> list[str]:
    return client.log(request_id, name).decode().splitlines()


ALL_LINES = [f"line {number}" for number in range(1, LINES + 1)]


def test_kafka_away_is_an_outage_and_no_more(client: Any, wait_until: Callable[..., None]) -> None:
    client.submit(definition(long=RUNS, after={"needs": ["long"], **SHORT}), "running")
    wait_until(running(client, "running", "long"))
    pid = client.ready("kafka")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert [post(client, f"stopped-{n}", {"one": SHORT}) for n in range(3)] == [202] * 3
        wait_until(lambda: seconds_since(client, "running") > AWAY_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)
    client.kill("kafka")
    assert post(client, "killed", {"one": SHORT}) == 202
    ids = ["running", "killed", *(f"stopped-{n}" for n in range(3))]
    assert set(client.wait(*ids).values()) == {"SUCCESS"}
    assert started_once(client, "running", "long")
    assert lines(client, "running", "long") == ALL_LINES
    client.published()


def seconds_since(client: Any, request_id: str) -> float:
    """Since the pipeline was accepted."""
    found: float = client.db.one(
        "SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM pipelines"
        " WHERE request_id = %s",
        (request_id,),
    )
    return found


def test_a_dead_letter_sent_again_comes_back_counted(client: Any, wait_until: Callable[..., None]) -> None:
    settings = client.stack.kafka_settings()
    topic = "penstock.pipelines.requested"

    def letters() -> list[tuple[bytes | None, int]]:
        with DeadLetters(settings, f"{topic}.dlq") as found:
            return [(letter.value, origin(letter).replays) for letter in found.read(found.ids)]

    client.produce(topic, "default", b"no JSON")
    wait_until(lambda: letters() == [(b"no JSON", 0)])
    with DeadLetters(settings, f"{topic}.dlq") as found, Producer(settings, "test") as sender:
        assert found.replay(sender, found.chosen([])) == 1
    wait_until(lambda: letters() == [(b"no JSON", 1)])


def test_a_wiped_kafka_loses_nothing(client: Any, wait_until: Callable[..., None]) -> None:
    client.submit(definition(one=SHORT), "ended")
    client.wait("ended")
    client.submit(definition(long=RUNS, after={"needs": ["long"], **SHORT}), "crossing")
    wait_until(running(client, "crossing", "long"))
    many = {f"j{n}": {"run": "sleep 1"} for n in range(4 * SLOTS)}
    client.submit(definition(**many, last={"needs": list(many), **SHORT}), "queued")
    wait_until(lambda: "SUCCESS" in {state for state, _ in client.jobs("queued").values()})

    data = client.folder / ".penstock/data/kafka/log"
    data.rename(data.with_name("lost"))
    client.kill("kafka")
    assert post(client, "meanwhile", {"one": SHORT}) == 202

    assert set(client.wait("crossing", "queued", "meanwhile").values()) == {"SUCCESS"}
    assert started_once(client, "crossing", "long")
    assert lines(client, "crossing", "long") == ALL_LINES
    client.submit(definition(one=SHORT), "later")
    assert client.wait("later") == {"later": "SUCCESS"}
    client.published()
    wait_until(lambda: client.db.one("SELECT count(*) FROM kafka_clusters WHERE done_at IS NOT NULL") == 1)
    assert client.db.one("SELECT count(*) FROM kafka_clusters") == 2
    for topic, table, key in (
        ("penstock.jobs.status", "job_transitions", "job_id"),
        ("penstock.pipelines.status", "pipeline_transitions", "pipeline_id"),
    ):
        there = {(record[key], record["version"], record["state"]) for record in client.topic(topic)}
        kept = client.db.rows(f"SELECT {key}::text, version, state FROM {table}")
        assert there == set(kept), "of all that ever was, before the wipe and after it"
