"""Faults of what is sent, repeated, old, useless and too large, and of rows that somebody holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from penstock.core.ids import uuid4
from penstock.definition.limits import MAX_JSON_BYTES
from penstock.events import topics
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Record
from penstock.store.setup import hold_table
from penstock.testing.chaos.collect import dump_topic
from penstock.testing.chaos.field import Drawn, Field

REPEATED: Final = (
    topics.PIPELINES_REQUESTED,
    topics.JOBS_REPORTS,
    topics.WORKERS_HEARTBEATS,
    topics.WORKERS_OFFERS,
    topics.WORKERS_GRANTS,
    topics.WORKERS_CONTROL,
    topics.LOGS_FRAMES,
    topics.CANCEL_REQUESTED,
    *topics.JOBS_READY.values(),
)
"""What services and runners read: anything of it may come again, at any time."""
POISONED: Final = (
    topics.PIPELINES_REQUESTED,
    topics.CANCEL_REQUESTED,
    topics.JOBS_REPORTS,
    topics.WORKERS_HEARTBEATS,
    topics.LOGS_FRAMES,
)
MOST_REPEATED: Final = 200


def repeated(field: Field) -> Drawn:
    """Records of a topic's whole past are sent once more, in any order."""
    topic = field.rng.choice(REPEATED).name

    def act() -> int:
        old = dump_topic(field.arena.kafka(), topic)
        chosen = field.rng.sample(old, min(len(old), MOST_REPEATED))
        with Producer(field.arena.kafka(), "chaos-repeats") as producer:
            producer.send([again(record) for record in chosen])
        return len(chosen)

    return topic, act


def again(record: Record) -> Outgoing:
    """The same record, to be sent once more."""
    headers = [(name, value or b"") for name, value in record.headers or ()]
    return Outgoing(record.topic, record.key, record.value, headers)


def poisoned(field: Field) -> Drawn:
    """Records that no service can use: no JSON, no object, an unknown shape."""
    topic = field.rng.choice(POISONED).name
    count = field.rng.choice((1, 3, 20))

    def act() -> int:
        for number in range(count):
            mark = uuid4()
            field.workload.poison(topic, _bad(number, mark), mark)
        return count

    return f"{count} on {topic}", act


def _bad(number: int, mark: str) -> bytes:
    return (b'{"cut off": "%s', b'["%s"]', b'"%s"', b'{"no": "%s"}')[number % 4] % mark.encode()


def too_large(field: Field) -> Drawn:
    """Definitions over every limit are refused at the door; one that is nearly too large is not."""

    def act() -> int:
        huge = {"name": "too much", "jobs": {"a": {"run": "x" * (MAX_JSON_BYTES + 1)}}}
        many = {"name": "too much", "jobs": {f"j{n}": {"executor": "noop"} for n in range(10_001)}}
        return sum(field.workload.refused(definition) in (413, 422) for definition in (huge, many))

    return "over HTTP", act


def locked(field: Field) -> Drawn:
    """Somebody holds a lock on all jobs."""
    seconds = field.seconds(2, 5)

    def act() -> int:
        with contextlib.closing(field.arena.database()) as db:
            hold_table(db, "jobs", seconds)
        return 1

    return "jobs", act


FAULTS: Final[dict[str, Callable[[Field], Drawn]]] = {
    "F7 repeated": repeated,
    "F9 jobs locked": locked,
    "F14 poison": poisoned,
    "F15 too large": too_large,
}
