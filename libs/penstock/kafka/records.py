"""What is read from and written to a topic: plain tuples, made tens of thousands of times a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from penstock.events.envelope import Headers

Partition = tuple[str, int]
"""Topic and partition number."""


class Record(NamedTuple):
    """One record as it was read. The value is None for a tombstone; `timestamp_ms` is the broker's."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None
    timestamp_ms: int

    @property
    def place(self) -> str:
        """Where it lies, in words for logs: `topic[partition]@offset`."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Outgoing(NamedTuple):
    """One record to write; its key decides the partition (no key: a random one)."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes of key, value and headers, as far as batching cares."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.key or "") + len(self.value or b"") + headers


def positions(records: Iterable[Record]) -> dict[Partition, int]:
    """The offset behind the last of these records, a partition: what to commit once all of them are done."""
    behind: dict[Partition, int] = {}
    for record in records:
        behind[record.topic, record.partition] = record.offset + 1
    return behind
