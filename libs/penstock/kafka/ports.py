"""The ports through which services write and read: Kafka and the in-memory bus both implement them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final, Literal, Protocol

from penstock.kafka.records import Outgoing, Partition, Record

MAX_RECORDS: Final = 500
"""Default bound of a batch; a statement over so many rows costs no less a row than one over more."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""Default bound of a batch in bytes of its keys and values; a single larger record is a batch of its own."""

Done = Callable[[Exception | None], None]
"""Told once when all records of a `post` are acknowledged (None) or why not all could be."""
Rebalanced = Callable[[set[Partition]], None]
"""Told which partitions came or went, in the polling thread within `poll`; it is quick and does not raise."""
Start = Literal["end", "earliest"] | float | Mapping[Partition, int]
"""Where a reader without a group begins: at the end, at the earliest record, so many seconds back, or at
these offsets (partitions that the mapping leaves out begin at the earliest record)."""


class Sender(Protocol):
    """Writes records; thread-safe."""

    def send(self, records: Sequence[Outgoing]) -> None:
        """Write all of them and wait until every one is acknowledged by all in-sync replicas.

        Order is kept per key. After an error some may have been written all the same.

        Raises:
            RetryLater: not all were acknowledged in time.
            RejectInput: a record is larger than its topic takes; sending it again cannot help.
        """
        ...

    def post(self, records: Sequence[Outgoing], on_done: Done) -> None:
        """Write all of them without waiting; `on_done` gets what `send` would raise, in another thread."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has, 0 when it is not there. Asks a server.

        Raises:
            RetryLater: no broker answered.
        """
        ...


class Source(Protocol):
    """Reads records. Every call but `positioned` belongs to one thread: the first to poll."""

    def poll(
        self, timeout: float, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
    ) -> list[Record]:
        """What is there now; waits up to `timeout` seconds for the first record and never for a second.

        A batch ends at either bound, but it always holds at least one record if there is one.
        """
        ...

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        """State that work is done for everything handed out so far, or up to these positions.

        Asynchronous; partitions that were lost meanwhile are left out. A source without a group ignores it.
        """
        ...

    def pause(self, partitions: Set[Partition]) -> None:
        """Fetch nothing of these from now on, and of all others again. What was fetched already may come."""
        ...

    def keep_alive(self) -> None:
        """Stay a member of the group while a batch is held up; takes no record. Call it every few seconds."""
        ...

    def assignment(self) -> set[Partition]:
        """The partitions that are read here now."""
        ...

    def positioned(self) -> bool:
        """Whether from now on no record of its partitions can be missed. Any thread may ask."""
        ...

    def lag(self) -> dict[str, int]:
        """Records not handed out yet, a topic, as far as the last fetches know; asks no server."""
        ...

    def close(self) -> None:
        """Commit what was stated as done, wait for it, and leave the group."""
        ...
