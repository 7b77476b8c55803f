"""From memory into storage: PUT, then index, in threads of their own, so that nothing that is away holds up
the reading of frames and live logs.

Chunks are put by a few threads; one thread owns the connection to Postgres. Both try again until they
succeed: the same chunk has the same key, and an index write whose outcome is unknown loses its
compare-and-swap when it is repeated, and learns what the index holds.
"""

from __future__ import annotations

import functools
import queue
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from penstock.core.errors import RetryLater
from penstock.objects.keys import LOGS_TYPE, chunk_key
from penstock.objects.ports import Objects
from penstock.runtime.log import logger
from penstock.runtime.run import Process
from penstock.store import logs
from penstock.store.database import Database, PoisonRow
from penstock.store.logs import Chunk, Head, IndexItem, LogKey
from penstock_services.logs.buffers import Cut
from penstock_services.logs.duties import Duties
from penstock_services.logs.frames import Frame, pack

FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 5.0

log = logger(__name__)
T = TypeVar("T")


class Indexed(NamedTuple):
    """A cut was written to the index, or (not `won`) the index held something else: `head` is what it has."""

    cut: Cut
    head: Head
    won: bool


class Refused(NamedTuple):
    """The index can never take this cut."""

    cut: Cut
    reason: str


class Known(NamedTuple):
    """What the index says of logs; `asked`: somebody wanted to know, else they were closed."""

    heads: dict[LogKey, Head]
    asked: bool


Result = Indexed | Refused | Known
Todo = tuple[Cut, IndexItem] | list[LogKey]
"""For the index: a cut whose chunks are stored, or logs to be looked up."""


def put_chunks(objects: Objects, cut: Cut, cluster_id: str) -> IndexItem:
    """Store a cut's chunks; returns what to write to the index. Raises RetryLater."""
    after = cut.after()
    return IndexItem(
        tenant=cut.tenant,
        job_id=cut.key[0],
        attempt=cut.key[1],
        partition=cut.partition,
        lines_before=cut.head.lines,
        lines=after.lines,
        last_seq=after.last_seq,
        end_seq=after.end_seq,
        chunks=[_put(objects, cut, group, cluster_id) for group in cut.groups],
    )


def _put(objects: Objects, cut: Cut, group: Sequence[Frame], cluster_id: str) -> Chunk:
    data, frames = pack(group)
    first, last = group[0], group[-1]
    key = chunk_key(cut.tenant, *cut.key, first.first_seq, last.last_seq, data)
    # Its content is in its key: when it is there already, it is the same.
    objects.put(key, data, content_type=LOGS_TYPE, if_none_match=True)
    return Chunk(
        first_seq=first.first_seq,
        last_seq=last.last_seq,
        object_key=key,
        bytes=len(data),
        raw_bytes=sum(frame.raw_bytes for frame in group),
        first_ts=first.first_ts,
        last_ts=last.last_ts,
        frames=frames,
        cluster_id=cluster_id,
        next_offset=max(frame.offset for frame in group) + 1,
    )


def index_cuts(db: Database, stored: Sequence[tuple[Cut, IndexItem]]) -> list[Result]:
    """Write stored cuts to the index, each log at most once. Raises RetryLater."""
    results: list[Result] = []
    for begin in range(0, len(stored), logs.MAX_ITEMS):
        results += _index(db, stored[begin : begin + logs.MAX_ITEMS])
    return results


def _index(db: Database, stored: Sequence[tuple[Cut, IndexItem]]) -> list[Result]:
    try:
        won = logs.index(db, [item for _, item in stored])
    except PoisonRow as error:
        if len(stored) == 1:
            return [Refused(stored[0][0], str(error).partition("\n")[0])]
        middle = len(stored) // 2
        return [*_index(db, stored[:middle]), *_index(db, stored[middle:])]
    lost = [item.key for _, item in stored if item.key not in won]
    heads = logs.heads(db, lost) if lost else {}
    return [
        Indexed(cut, cut.after() if cut.key in won else heads[cut.key], cut.key in won) for cut, _ in stored
    ]


class Archive:
    """Takes cuts and questions, gives results; all calls are quick and belong to the polling thread.

    Its threads are daemons: one that waits for a storage that is away does not hold up the process's end.
    """

    def __init__(
        self, process: Process, objects: Objects, db: Database, duties: Duties, *, threads: int
    ) -> None:
        self._process = process
        self._objects = objects
        self._db = db
        self._duties = duties
        self._closing = threading.Event()
        self._cuts: queue.SimpleQueue[Cut | None] = queue.SimpleQueue()
        self._todo: queue.SimpleQueue[Todo | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result | Exception] = queue.SimpleQueue()
        self._room = self._most = 2 * threads
        self._asked = 0
        self.cluster_id = ""
        """Of the cluster that the frames are read from."""
        self._putters = [
            threading.Thread(target=self._guarded, args=(self._put_all,), name=f"put-{n}", daemon=True)
            for n in range(threads)
        ]
        self._indexer = threading.Thread(
            target=self._guarded, args=(self._index_all,), name="index", daemon=True
        )

    def start(self) -> None:
        """Begin to work."""
        for thread in (*self._putters, self._indexer):
            thread.start()

    @property
    def room(self) -> int:
        """How many cuts it takes now."""
        return self._room

    @property
    def idle(self) -> bool:
        """Whether no result is to come."""
        return self._room == self._most and not self._asked

    def store(self, cuts: Iterable[Cut]) -> None:
        """Store these and index them; a result follows for each."""
        for cut in cuts:
            self._room -= 1
            self._cuts.put(cut)

    def ask(self, keys: list[LogKey]) -> None:
        """Ask the index how far these are stored."""
        if keys:
            self._asked += len(keys)
            self._todo.put(keys)

    def register(self) -> None:
        """The partitions changed: say so soon."""
        self._duties.hurry()
        self._todo.put([])

    def results(self, timeout: float = 0) -> list[Result]:
        """What came since the last call; waits at most so long for the first.

        Raises:
            Exception: what a thread ended with.
        """
        found: list[Result] = []
        try:
            while True:
                result = self._results.get(timeout=timeout) if timeout else self._results.get_nowait()
                timeout = 0
                if isinstance(result, Exception):
                    raise result
                if not isinstance(result, Known):
                    self._room += 1
                elif result.asked:
                    self._asked -= len(result.heads)
                found.append(result)
        except queue.Empty:
            return found

    def close(self) -> None:
        """Give up what is not done, and say that this replica leaves."""
        self._closing.set()
        for _ in self._putters:
            self._cuts.put(None)
        self._todo.put(None)
        self._indexer.join(CLOSE_SECONDS)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the polling thread must learn of it
            self._results.put(error)

    def _put_all(self) -> None:
        while (cut := self._cuts.get()) is not None and not self._closing.is_set():
            item = self._persist(functools.partial(put_chunks, self._objects, cut, self.cluster_id))
            if item is not None:
                self._todo.put((cut, item))

    def _index_all(self) -> None:
        monotonic = self._process.clock.monotonic
        while not self._closing.is_set():
            batch = self._take(self._duties.wait(monotonic()))
            asked = [key for one in batch if isinstance(one, list) for key in one]
            if asked:
                heads = self._persist(lambda: logs.heads(self._db, asked))  # noqa: B023 - called at once
                self._tell(Known(heads or {}, asked=True))
            stored = [one for one in batch if isinstance(one, tuple)]
            if stored:
                self._tell(*(self._persist(lambda: index_cuts(self._db, stored)) or ()))  # noqa: B023
            closed = self._duties.perform(self._db, monotonic())
            if closed:
                self._tell(Known(closed, asked=False))
        self._duties.leave(self._db)
        self._db.close()

    def _tell(self, *results: Result) -> None:
        for result in results:
            self._results.put(result)

    def _take(self, timeout: float) -> list[Todo]:
        """All that waits: while one batch is being written, the next one gathers."""
        batch: list[Todo] = []
        try:
            one = self._todo.get(timeout=timeout) if timeout else self._todo.get_nowait()
            while one is not None:
                batch.append(one)
                one = self._todo.get_nowait()
        except queue.Empty:
            pass
        return batch

    def _persist(self, act: Callable[[], T]) -> T | None:
        """Try until it raises no `RetryLater`; None when closing."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return act()
            except RetryLater as error:
                self._process.metrics.inc("penstock_retries_total", component=error.component or "unknown")
                log.warning("put off", error=str(error), component=error.component)
            if self._closing.wait(delay * random.uniform(0.5, 1.0)):
                return None
            delay = min(delay * 2, LAST_RETRY_SECONDS)
