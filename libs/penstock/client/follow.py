"""Events and logs to their end, also when the gateway goes away and comes back in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from penstock.client.client import Client
from penstock.client.records import LogEnd, LogLine, Status
from penstock.client.wire import Busy
from penstock.core.errors import RetryLater
from penstock.runtime.clock import Clock, SystemClock

PATIENCE_SECONDS: Final = 60.0
FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 2.0
GOOD_SECONDS: Final = 10.0
"""A connection that lasted so long, however quiet, ended what was before."""

T = TypeVar("T")


class Patience:
    """How long one reader bears with a gateway that is away, and whom it tells.

    `tell` gets a sentence when it stays away beyond a first try, and one when it is back. Once `stopping` is
    set nothing is waited for any more.
    """

    def __init__(
        self,
        seconds: float = PATIENCE_SECONDS,
        *,
        clock: Clock | None = None,
        tell: Callable[[str], None] = lambda _: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._seconds = seconds
        self._stopping = stopping or threading.Event()
        self._clock = clock or SystemClock()
        self._tell = tell
        self._told = False
        self._since: float | None = None
        self._last = 0.0
        self._wait = FIRST_WAIT_SECONDS

    def bear(self, error: RetryLater) -> None:
        """Wait a while before the next try. Raises the error when it has lasted too long."""
        now = self._clock.monotonic()
        if self._since is None or now - self._last > GOOD_SECONDS:
            self._since, self._wait = now, FIRST_WAIT_SECONDS
        elif not self._told:
            self._told = True
            self._tell(f"{error}; trying again for {self._seconds:.0f} s")
        wait = max(self._wait, error.retry_after if isinstance(error, Busy) else 0.0)
        if now + wait - self._since > self._seconds or self._clock.sleep(wait, self._stopping):
            raise error
        self._last = self._clock.monotonic()
        self._wait = min(self._wait * 2, LONGEST_WAIT_SECONDS)

    def answered(self) -> None:
        """The gateway answers."""
        self._since = None
        if self._told:
            self._told = False
            self._tell("the gateway is back")

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns; it is called again while the gateway is away, so it must be repeatable."""
        while True:
            try:
                found = function()
            except RetryLater as error:
                self.bear(error)
            else:
                self.answered()
                return found


def follow_events(client: Client, pipeline_id: str, patience: Patience) -> Iterator[Status]:
    """Status records of a pipeline and its jobs until its own terminal one; some may come twice.

    Raises:
        RetryLater: the gateway was away for longer than the patience.
        Refused: there is no such pipeline.
    """
    cursor = ""
    while True:
        try:
            for seen, record in client.events(pipeline_id, cursor):
                patience.answered()
                cursor = seen
                yield record
                if record["terminal"] and "job_id" not in record:
                    return
            lost = RetryLater("the gateway closed the stream of events", component="gateway")
        except RetryLater as error:
            lost = error
        patience.bear(lost)


def follow_log(
    client: Client, job_id: str, attempt: int, patience: Patience, from_seq: int = 1
) -> Iterator[list[LogLine | LogEnd]]:
    """Lines of one attempt in order, each once, until its end-of-log record, which is the last.

    Raises:
        RetryLater: the gateway was away for longer than the patience.
        Refused: there is no such job or attempt.
    """
    while True:
        try:
            for batch in client.log(job_id, attempt=attempt, from_seq=from_seq, follow=True):
                patience.answered()
                yield batch
                for record in batch:
                    if "end" in record:
                        return
                    from_seq = record["seq"] + 1
            lost = RetryLater("the gateway closed the log", component="gateway")
        except RetryLater as error:
            lost = error
        patience.bear(lost)
