"""What all topics were given from some moment on."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from penstock.core.errors import RetryLater
from penstock.kafka.records import Partition, Record
from penstock.kafka.tail import TailSource
from penstock.runtime.clock import SystemClock
from penstock.runtime.settings import KafkaSettings
from penstock.testing.chaos.collect import topic_names

READ_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1


class Listener:
    """Reads all topics from now on; after a loss of Kafka, all that the new one has."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._source = TailSource(settings, topic_names(), start="end", name="mutants")
        self._source.on_moved = self._moved
        self._clock = SystemClock()
        self._next: dict[Partition, int] = {one: end for one, (_, end) in self._source.marks().items()}
        self._heard: dict[str, list[Record]] = defaultdict(list)

    def heard(self) -> dict[str, list[Record]]:
        """All records up to now, by topic. Raises RetryLater."""
        self._read()
        deadline = self._clock.monotonic() + READ_SECONDS
        while not self._source.positioned() and self._clock.monotonic() < deadline:
            self._read()
        ends = {one: end for one, (_, end) in self._source.marks().items()}
        while any(self._next.get(one, 0) < end for one, end in ends.items()):
            if self._clock.monotonic() > deadline:
                raise RetryLater(f"topics not read within {READ_SECONDS:.0f} s", component="kafka")
            self._read()
        return self._heard

    def close(self) -> None:
        """Read no more."""
        self._source.close()

    def _read(self) -> None:
        for record in self._source.poll(POLL_SECONDS):
            self._heard[record.topic].append(record)
            self._next[record.topic, record.partition] = record.offset + 1

    def _moved(self) -> None:
        self._next.clear()
