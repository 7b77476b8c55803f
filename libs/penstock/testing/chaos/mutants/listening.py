"""What all topics were given from some moment on."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Final

from penstock.core.errors import RetryLater
from penstock.kafka.records import Partition, Record
from penstock.kafka.tail import TailSource
from penstock.runtime.clock import SystemClock
from penstock.runtime.settings import KafkaSettings
from penstock.testing.chaos.collect import topic_names

READ_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


class Listener:
    """Reads all topics from now on; after a loss of Kafka, all that the new one has."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._source = TailSource(settings, topic_names(), start="end", name="mutants")
        self._source.on_moved = self._moved
        self._clock = SystemClock()
        self._next: dict[Partition, int] = {}
        self._heard: dict[str, list[Record]] = defaultdict(list)
        self._next = self._ends(self._clock.monotonic() + READ_SECONDS)

    def heard(self) -> dict[str, list[Record]]:
        """All records up to now, by topic. Raises RetryLater."""
        deadline = self._clock.monotonic() + READ_SECONDS
        ends = self._ends(deadline)
        while any(self._next.get(one, 0) < end for one, end in ends.items()):
            self._check(deadline)
            self._read()
        return self._heard

    def close(self) -> None:
        """Read no more."""
        self._source.close()

    def _ends(self, deadline: float) -> dict[Partition, int]:
        """How far there is something to read. A Kafka that has just lost everything cannot say at once."""
        while True:
            self._read()
            if self._source.positioned():
                with contextlib.suppress(RetryLater):
                    return {one: end for one, (_, end) in self._source.marks().items()}
            self._check(deadline)

    def _check(self, deadline: float) -> None:
        if self._clock.monotonic() > deadline:
            raise RetryLater(f"topics not read within {READ_SECONDS:.0f} s", component="kafka")

    def _read(self) -> None:
        for record in self._source.poll(POLL_SECONDS):
            self._heard[record.topic].append(record)
            self._next[record.topic, record.partition] = record.offset + 1

    def _moved(self) -> None:
        self._next.clear()
