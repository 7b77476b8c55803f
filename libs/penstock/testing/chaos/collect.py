"""What is read from the arena when it is at rest: every topic, every log."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from penstock.client import Client
from penstock.core.errors import RetryLater
from penstock.events.topics import TOPICS, dlq_of
from penstock.kafka.records import Record
from penstock.kafka.tail import TailSource
from penstock.runtime.clock import SystemClock
from penstock.runtime.settings import KafkaSettings
from penstock.store.audit import Books
from penstock.testing.history.past import Log, LogLine

READ_SECONDS: Final = 60.0


def topic_names() -> list[str]:
    """All topics, their dead letters with them."""
    return [
        name
        for topic in TOPICS
        for name in ((topic.name, dlq_of(topic.name)) if topic.dlq else (topic.name,))
    ]


def dump_topic(settings: KafkaSettings, topic: str) -> list[Record]:
    """All records of a topic that are there now, by partition and offset. Raises RetryLater."""
    source = TailSource(settings, [topic], start="earliest", name="chaos-dump")
    clock = SystemClock()
    deadline = clock.monotonic() + READ_SECONDS
    found: list[Record] = []
    try:
        ends = source.marks()
        left = {partition for partition, (low, high) in ends.items() if high > low}
        while left:
            for record in source.poll(0.2):
                at = (record.topic, record.partition)
                found.append(record)
                if record.offset >= ends[at][1] - 1:
                    left.discard(at)
            if clock.monotonic() > deadline:
                raise RetryLater(f"{topic} could not be read within {READ_SECONDS:.0f} s", component="kafka")
    finally:
        source.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def logs(client: Client, books: Books, seconds: float) -> Iterator[Log]:
    """The log of every attempt, as a reader gets it; waits for their ends, so long for all of them."""
    deadline = SystemClock().monotonic() + seconds
    for attempt in books.attempts:
        yield _log(client, attempt["job_id"], attempt["attempt"], deadline)


def _log(client: Client, job_id: str, attempt: int, deadline: float) -> Log:
    log = Log(job_id, attempt, [], ended=False)
    clock, never = SystemClock(), threading.Event()
    while not _read(client, log) and clock.monotonic() < deadline:
        clock.sleep(0.2, never)
    return log  # as far as it goes: the verdict says what is missing


def _read(client: Client, log: Log) -> bool:
    """Read it once more from its beginning; whether its end was there."""
    log.lines = []
    with contextlib.suppress(RetryLater):  # who has it may have just been killed
        for batch in client.log(log.job_id, attempt=log.attempt):
            for line in batch:
                if "end" in line:
                    log.missing = int(line.get("missing", 0) or 0)
                    log.ended = True
                    return True
                log.lines.append(LogLine(line["seq"], line["stream"], line["text"]))
    return False
