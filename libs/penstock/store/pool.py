"""Connections for asyncio: calls of the store run in threads, each of which has a connection of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

from penstock.core.errors import RetryLater
from penstock.store.database import Database

CALL_SECONDS: Final = 10.0
"""A call that has no answer by then counts as failed; its outcome is unknown."""
SHUN_SECONDS: Final = 1.0
"""So long after that no other call is tried."""
SILENT_SECONDS: Final = 1.0
"""How long the next ones wait, until one is answered: not ten seconds each for a server that hangs."""

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """At most `size` calls at once; more wait their turn. It belongs to one event loop."""

    def __init__(
        self, dsn: str, application: str, *, size: int = 8, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._dsn = dsn
        self._application = application
        self._call_seconds = call_seconds
        self._shunned_until = 0.0
        self._silent = False
        self._heard = 0.0
        """When the last answer came, be it too late for who asked: who is slow is not silent."""
        self._local = threading.local()
        self._opened: list[Database] = []
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="store", initializer=self._open)

    async def run(
        self, function: Callable[Concatenate[Database, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `function(db, …)` returns; each statement in it is a transaction of its own.

        Raises:
            RetryLater: the server is away, or did not answer in time.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began < self._shunned_until:
            raise RetryLater("postgres: it did not answer just now", component="postgres")

        def call() -> T:
            answer = function(self._local.database, *args, **kwargs)
            self._heard, self._silent = loop.time(), False
            return answer

        called = loop.run_in_executor(self._threads, call)
        patience = min(SILENT_SECONDS, self._call_seconds) if self._silent else self._call_seconds
        try:
            return await asyncio.wait_for(called, patience)
        except TimeoutError:
            self._silent = self._heard < began
            self._shunned_until = loop.time() + SHUN_SECONDS
            raise RetryLater(f"postgres: no answer within {patience:g} s", component="postgres") from None

    def close(self) -> None:
        """Wait for the calls that run, drop those that wait, close the connections."""
        self._threads.shutdown(cancel_futures=True)
        for database in self._opened:
            database.close()

    def _open(self) -> None:
        self._local.database = Database(self._dsn, self._application)
        self._opened.append(self._local.database)
