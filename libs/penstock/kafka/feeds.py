"""Several sources side by side, each in the one thread that may poll it, their batches read by one reader.

A thread a source: a consumer waits in its client, not in Python, so an idle feed costs next to nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from penstock.kafka.ports import MAX_BYTES, MAX_RECORDS, Source
from penstock.kafka.records import Partition, Record, positions

POLL_SECONDS: Final = 0.1
"""A commit or the end of a feed waits so long at most."""
HOLD_SECONDS: Final = 1.0
"""How often a feed whose reader is behind tells the group that it is alive."""


class Receiver(Protocol):
    """Where the feeds' threads put what they read; both calls must be quick and thread-safe."""

    def deliver(self, name: str, records: list[Record]) -> None:
        """A batch of the feed of that name; answer with `Feeds.taken` once there is room for the next."""
        ...

    def failed(self, name: str, error: BaseException) -> None:
        """The feed ended with this error and reads no more."""
        ...


class Feeds:
    """Merges sources. Without a `receiver` read by `get`; with one, batches are delivered to it as they come.

    An asyncio reader's `deliver` is `loop.call_soon_threadsafe(handle, name, records)`. At most `depth`
    batches of a feed are on their way; a slow reader pauses its feed and keeps its membership.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        receiver: Receiver | None = None,
        depth: int = 2,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._inbox = _Inbox()
        target = receiver or self._inbox
        self._feeds = {
            name: _Feed(name, source, target, depth, max_records, max_bytes)
            for name, source in sources.items()
        }

    def start(self) -> None:
        """Begin to poll; from here on the sources belong to their threads."""
        for feed in self._feeds.values():
            feed.start()

    def get(self, timeout: float) -> tuple[str, list[Record]] | None:
        """The next batch and the name of its feed; None when nothing came in time.

        Raises:
            Exception: what a feed ended with.
        """
        taken = self._inbox.get(timeout)
        if taken is not None:
            self.taken(taken[0])
        return taken

    def taken(self, name: str) -> None:
        """The receiver took a batch of that feed: it may read one more."""
        self._feeds[name].room.release()

    def commit(self, name: str, records: Sequence[Record]) -> None:
        """These records, and all before them, are done; the feed's own thread commits soon."""
        self._feeds[name].commits.put(positions(records))

    def positioned(self) -> bool:
        """Whether every source can miss nothing from now on."""
        return all(feed.source.positioned() for feed in self._feeds.values())

    def close(self) -> None:
        """Stop polling, commit what was stated as done, close the sources."""
        for feed in self._feeds.values():
            feed.closing.set()
        for feed in self._feeds.values():
            if feed.ident is None:
                feed.source.close()
            else:
                feed.join()


class _Inbox:
    """The receiver behind `Feeds.get`."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[str, list[Record] | BaseException]] = queue.SimpleQueue()

    def deliver(self, name: str, records: list[Record]) -> None:
        self._queue.put((name, records))

    def failed(self, name: str, error: BaseException) -> None:
        self._queue.put((name, error))

    def get(self, timeout: float) -> tuple[str, list[Record]] | None:
        try:
            name, came = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(came, BaseException):
            raise came
        return name, came


class _Feed(threading.Thread):
    """One source in its thread."""

    def __init__(
        self, name: str, source: Source, receiver: Receiver, depth: int, max_records: int, max_bytes: int
    ) -> None:
        super().__init__(name=f"feed-{name}", daemon=True)
        self._feed = name
        self.source = source
        self.room = threading.Semaphore(depth)
        self.commits: queue.SimpleQueue[dict[Partition, int]] = queue.SimpleQueue()
        self.closing = threading.Event()
        self._receiver = receiver
        self._bounds = (max_records, max_bytes)

    def run(self) -> None:
        try:
            try:
                while not self.closing.is_set():
                    self._commit()
                    self._feed_once()
                self._commit()
            finally:
                self.source.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the reader must learn of it
            self._receiver.failed(self._feed, error)

    def _feed_once(self) -> None:
        if not self.room.acquire(timeout=HOLD_SECONDS):
            self.source.keep_alive()
            return
        records = self.source.poll(POLL_SECONDS, *self._bounds)
        if records:
            self._receiver.deliver(self._feed, records)
        else:
            self.room.release()

    def _commit(self) -> None:
        while not self.commits.empty():
            self.source.commit(self.commits.get())
