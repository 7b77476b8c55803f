"""Definitions by reference, read aside: while object storage is away nobody waits but those that need it.

A request whose definition is not there in time is put off (`Outcome.later`): it waits in memory, its offset
is not committed, and everybody else goes on. A row in Postgres could not stand for it: the digest under which
its key is kept is over the definition's data.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future, wait
from typing import Final, Protocol

from penstock.core.errors import RetryLater
from penstock.runtime.log import logger

WAIT_SECONDS: Final = 0.5
"""A batch waits so long for its definitions, and not at all while older ones are still on their way."""
AGAIN_SECONDS: Final = 5.0
"""Object storage that was away is asked again after so long."""
THREADS: Final = 4

Reference = tuple[str, str]
"""Tenant and SHA-256 in hex."""

log = logger(__name__)


class Definitions(Protocol):
    """Reads definitions that were put into object storage; thread-safe."""

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        """The definition, None when there is none. Raises RetryLater."""
        ...


class References:
    """Reads in threads of its own, which end with the process: a call may hang for long."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._todo: queue.SimpleQueue[tuple[Reference, Future[bytes | None]]] = queue.SimpleQueue()
        self._reading: dict[Reference, Future[bytes | None]] = {}
        self._threads = 0
        self._ask_from = 0.0

    def read(self, wanted: Iterable[Reference], now: float) -> dict[Reference, bytes | None]:
        """What lies under these, as far as it is known in time: whoever is missing is to be asked again.

        `now` is Unix seconds. Raises what a read raised, but `RetryLater`.
        """
        references = list(dict.fromkeys(wanted))
        late = [future for future in self._reading.values() if not future.done()]
        new = [one for one in references if one not in self._reading] if now >= self._ask_from else []
        for one in new:
            self._reading[one] = self._begin(one)
        if new and not late:
            wait([self._reading[one] for one in new], WAIT_SECONDS)
        found: dict[Reference, bytes | None] = {}
        for one in [one for one, future in self._reading.items() if future.done()]:
            # Also of those that nobody asks for any more: their partition is another's now.
            future = self._reading.pop(one)
            try:
                found[one] = future.result()
            except RetryLater as error:
                self._ask_from = now + AGAIN_SECONDS
                log.warning("definitions put off", error=str(error), component=error.component)
        return found

    def _begin(self, one: Reference) -> Future[bytes | None]:
        if self._threads < THREADS:
            self._threads += 1
            threading.Thread(target=self._run, name="definitions", daemon=True).start()
        future: Future[bytes | None] = Future()
        self._todo.put((one, future))
        return future

    def _run(self) -> None:
        while True:
            one, future = self._todo.get()
            try:
                future.set_result(self._definitions.definition(*one))
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is taken
                future.set_exception(error)
