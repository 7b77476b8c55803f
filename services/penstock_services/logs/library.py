"""What all readers share: memory, index and storage, and who wakes them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from penstock.objects.ports import Objects
from penstock.store import logs, workers
from penstock.store.database import Database
from penstock.store.logs import Chunk, LogKey, LogState
from penstock_services.logs.memory import Memory

OWNER_SECONDS: Final = 15.0
"""A replica not heard of for so long owns nothing."""

T = TypeVar("T")


class Index(Protocol):
    """What readers ask the index; thread-safe and blocking. Every call may raise RetryLater."""

    def states(self, keys: Sequence[LogKey]) -> dict[LogKey, LogState]:
        """See `store.logs.states`."""
        ...

    def chunks(self, key: LogKey, from_seq: int) -> Sequence[Chunk]:
        """See `store.logs.chunks`."""
        ...

    def owner(self, partition: int) -> str | None:
        """See `store.workers.log_owner`."""
        ...


class PostgresIndex:
    """An `Index` on a connection of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()

    def states(self, keys: Sequence[LogKey]) -> dict[LogKey, LogState]:
        """See `Index.states`."""
        with self._lock:
            return logs.states(self._db, keys)

    def chunks(self, key: LogKey, from_seq: int) -> list[Chunk]:
        """See `Index.chunks`."""
        with self._lock:
            return logs.chunks(self._db, *key, from_seq)

    def owner(self, partition: int) -> str | None:
        """See `Index.owner`."""
        with self._lock:
            return workers.log_owner(self._db, partition, seen_within=OWNER_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()


class States:
    """Asks for the states of logs; what is asked while a query runs goes into the next one together."""

    def __init__(self, query: Callable[[list[LogKey]], Awaitable[dict[LogKey, LogState]]]) -> None:
        self._query = query
        self._waiting: dict[LogKey, asyncio.Future[LogState]] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, key: LogKey) -> asyncio.Future[LogState]:
        """The state as it is now, or RetryLater. Others may wait for the same answer: do not cancel it."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._ask())
        return future

    async def _ask(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            try:
                states = await self._query(list(asked))
            except Exception as error:  # noqa: BLE001 - whatever it is, those who asked must learn of it
                for future in asked.values():
                    future.set_exception(error)
                    future.exception()  # its reader may have gone
            else:
                for key, future in asked.items():
                    future.set_result(states[key])
        self._task = None


class Watch:
    """Wakes the readers of a log when something is new."""

    def __init__(self) -> None:
        self._readers: dict[LogKey, list[asyncio.Event]] = {}

    def watched(self, keys: set[LogKey]) -> list[LogKey]:
        """Those of these that have readers. Any thread may ask."""
        readers = self._readers
        return [key for key in keys if key in readers] if readers else []

    def wake(self, keys: Sequence[LogKey]) -> None:
        """There is something new of these."""
        for key in keys:
            for event in self._readers.get(key, ()):
                event.set()

    @contextmanager
    def follow(self, key: LogKey) -> Iterator[asyncio.Event]:
        """An event that is set when something is new, as long as it is followed."""
        event = asyncio.Event()
        self._readers.setdefault(key, []).append(event)
        try:
            yield event
        finally:
            self._readers[key].remove(event)
            if not self._readers[key]:
                del self._readers[key]


class Library:
    """All that readers read from."""

    def __init__(
        self, memory: Memory, index: Index, objects: Objects, threads: Executor, close_seconds: float
    ) -> None:
        self.memory = memory
        self.index = index
        self.objects = objects
        self.threads = threads
        self.close_seconds = close_seconds
        self.watch = Watch()
        self.states = States(lambda keys: self.run(lambda: index.states(keys)))

    async def run(self, act: Callable[[], T]) -> T:
        """Do what blocks in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, act)
