"""Definitions by reference, read aside: while object storage is away nobody waits but those that need it.

A request whose definition is not there in time is put off (`Outcome.later`): it waits in memory, its offset
is not committed, and everybody else goes on. A row in Postgres could not stand for it: the digest under which
its key is kept is over the definition's data.
"""

from __future__ import annotations

import dataclasses
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
KEPT_SECONDS: Final = 5.0
"""An answer waits so long for its request, which was put off, or whose partition is another's now."""
THREADS: Final = 4

Reference = tuple[str, str]
"""Tenant and SHA-256 in hex."""

log = logger(__name__)


class Definitions(Protocol):
    """Reads definitions that were put into object storage; thread-safe."""

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        """The definition, None when there is none. Raises RetryLater."""
        ...


@dataclasses.dataclass(slots=True)
class _Reading:
    """A read under way or done, and when (Unix seconds) a request last asked for it."""

    answer: Future[bytes | None]
    asked_at: float


class References:
    """Reads in threads of its own, which end with the process: a call may hang for long."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._todo: queue.SimpleQueue[tuple[Reference, Future[bytes | None]]] = queue.SimpleQueue()
        self._reading: dict[Reference, _Reading] = {}
        self._threads = 0
        self._ask_from = 0.0

    def read(self, wanted: Iterable[Reference], now: float) -> dict[Reference, bytes | None]:
        """What lies under these, as far as it is known in time: whoever is missing is to be asked again.

        `now` is Unix seconds. Raises what the read of one of these raised, but `RetryLater`.
        """
        references = dict.fromkeys(wanted)
        late = any(not reading.answer.done() for reading in self._reading.values())
        new = [one for one in references if one not in self._reading] if now >= self._ask_from else []
        for one in new:
            self._reading[one] = _Reading(self._begin(one), now)
        if new and not late:
            wait([self._reading[one].answer for one in new], WAIT_SECONDS)
        found: dict[Reference, bytes | None] = {}
        for one in references:
            reading = self._reading.get(one)
            if reading is None:
                continue
            reading.asked_at = now
            if not reading.answer.done():
                continue
            del self._reading[one]
            try:
                found[one] = reading.answer.result()
            except RetryLater as error:
                self._ask_from = now + AGAIN_SECONDS
                log.warning("definitions put off", error=str(error), component=error.component)
        self._drop_unfetched(now)
        return found

    def _drop_unfetched(self, now: float) -> None:
        """Also those that failed: that is nobody's affair here. Whoever comes for one after all asks anew."""
        for one, reading in list(self._reading.items()):
            if reading.answer.done() and not 0 <= now - reading.asked_at < KEPT_SECONDS:
                del self._reading[one]
                error = reading.answer.exception()
                log.info("definition not fetched", tenant=one[0], sha256=one[1], error=str(error or ""))

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
