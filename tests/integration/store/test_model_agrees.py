"""Random operations on the twin and on a real Postgres end in the same rows and tell the same."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest
from tests.model.operations import HANDS, Answer, Operation, on_twin, random_graph, random_operation
from tests.model.postgres import Real

from penstock.runtime.clock import pause
from penstock.store.database import Database
from penstock.testing.model.rows import Graph, Rows, accept
from penstock.testing.model.transitions import Decision, undecided
from penstock_services.advancer.decide import Facts, decide

SEQUENCES = 40
OPERATIONS = 30
RACES = 60
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def connections(postgres_dsn: str) -> Iterator[list[Database]]:
    """One that acts, one that races it, one that watches."""
    databases = [Database(postgres_dsn, name) for name in ("test", "racer", "watcher")]
    yield databases
    for database in databases:
        database.close()


def decided(operation: Operation, graph: Graph, rows: Rows) -> Operation:
    """What production's pure decide says of the jobs that wait for it."""
    if operation.name != "decide":
        return operation
    facts = undecided(graph, rows, operation.arguments)
    choices = [
        decide(Facts(str(one.job), "", one.condition, one.cancelling, one.failed, one.cancelled, one.skipped))
        for one in facts
    ]
    return Operation("resolve", tuple(Decision(int(one.job_id), one.becomes, one.reason) for one in choices))


def walk(db: Database, chance: random.Random, steps: int) -> tuple[Graph, Rows, Real, list[Operation]]:
    """A pipeline after so many operations, on both."""
    graph = random_graph(chance)
    rows = accept(graph).rows._replace(outbox=())
    real = Real(db, graph)
    past: list[Operation] = []
    for _ in range(steps):
        operation = decided(random_operation(chance, graph, rows), graph, rows)
        past.append(operation)
        expected = on_twin(graph, rows, operation)
        found = real.perform(operation)._replace(rows=real.rows())
        assert found == expected, f"after {past} on {graph}"
        rows = expected.rows
    return graph, rows, real, past


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_sequences_agree(connections: list[Database], seed: int) -> None:
    walk(connections[0], random.Random(seed), OPERATIONS)


def until_done_or_waiting(db: Database, thread: threading.Thread) -> None:
    """Return once the other connection has its answer, or waits for a lock of ours."""
    for _ in range(int(WAIT_SECONDS / 0.005)):
        if not thread.is_alive():
            return
        if db.one(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'racer' AND wait_event_type = 'Lock'"
        ):
            return
        pause(0.005)
    raise AssertionError("the other connection neither answered nor waited")


@pytest.mark.parametrize("seed", range(RACES))
def test_two_at_once_end_as_one_after_the_other(connections: list[Database], seed: int) -> None:
    db, racer, watcher = connections
    chance = random.Random(1_000 + seed)
    graph, rows, real, past = walk(db, chance, chance.randint(1, 12))
    first, second = (store_operation(chance, graph, rows) for _ in range(2))
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(real.perform(second, racer)), daemon=True)
    db.rows("BEGIN")
    one = real.perform(first)
    thread.start()
    until_done_or_waiting(watcher, thread)
    db.rows("COMMIT")
    thread.join(WAIT_SECONDS)
    found = (tidy(real.rows()), one.events, one.said, answers[0].events, answers[0].said)
    assert found in orders(graph, rows, first, second), f"{first} and {second} after {past} on {graph}"


def tidy(rows: Rows) -> Rows:
    """Without side rows of a state that a job has left: two at once may leave one, and it is deleted unused.

    A sweep that puts a row into the queue may commit after the claim, or a timer after `retry_due`.
    """
    ready = (row and job.state == "QUEUED" for row, job in zip(rows.ready, rows.jobs, strict=True))
    timers = (
        row if job.state == "RETRYING" else None for row, job in zip(rows.timers, rows.jobs, strict=True)
    )
    return rows._replace(ready=tuple(ready), timers=tuple(timers))


def store_operation(chance: random.Random, graph: Graph, rows: Rows) -> Operation:
    """One of the store's: two statements of tests at once prove nothing."""
    while (operation := decided(random_operation(chance, graph, rows), graph, rows)).name in HANDS:
        pass
    return operation


def orders(graph: Graph, rows: Rows, first: Operation, second: Operation) -> list[tuple[object, ...]]:
    """What may be found: one operation, then the other."""
    a = on_twin(graph, rows, first)
    ab = on_twin(graph, a.rows, second)
    b = on_twin(graph, rows, second)
    ba = on_twin(graph, b.rows, first)
    return [
        (tidy(ab.rows), a.events, a.said, ab.events, ab.said),
        (tidy(ba.rows), ba.events, ba.said, b.events, b.said),
    ]
