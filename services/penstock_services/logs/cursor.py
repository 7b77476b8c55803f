"""One reader's cursor through a log: stored chunks, then memory, then what comes, without gap or repeat."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import msgspec

from penstock.core.errors import RetryLater
from penstock.logs.frames import skip_lines
from penstock.logs.reading import EndOfLog, Piece, closed_end, end_of, stored_lines
from penstock.runtime.log import logger
from penstock.store.logs import LogKey, LogState
from penstock_services.logs.buffers import View
from penstock_services.logs.frames import Frame
from penstock_services.logs.library import Library

FIRST_ASK_SECONDS: Final = 0.25
LAST_ASK_SECONDS: Final = 5.0
"""How often Postgres is asked how a log stands of which nothing comes; a log with output tells by itself."""
FIRST_STATE_SECONDS: Final = 0.02
STATE_SECONDS: Final = 5.0
"""How long the end of a log waits for the state that its attempt ended in, and a look at it for an answer."""
ANSWER_SECONDS: Final = 1.0
"""How long a reader waits for an answer of Postgres, which may hang, before it goes on without."""

log = logger(__name__)


class Cursor:
    """One reader. `seq` is the number of the next line."""

    def __init__(self, library: Library, key: LogKey, seq: int) -> None:
        self._library = library
        self._key = key
        self.seq = seq
        self._state: LogState | None = None
        self._asked: asyncio.Future[LogState] | None = None
        """An answer that is not there yet."""

    async def read(self, *, follow: bool) -> AsyncGenerator[bytes, None]:
        """NDJSON in pieces; an empty one before each wait for what is not there yet.

        With `follow` up to the end-of-log record; else what is there now.

        Raises:
            RetryLater: lines before those in memory are wanted, and Postgres or the object storage is away.
        """
        with self._library.watch.follow(self._key) as news:
            # Without `follow` nothing else tells how the log stands, so the answer is worth the wait.
            await self._ask(seconds=ANSWER_SECONDS if follow else STATE_SECONDS)
            patience = FIRST_ASK_SECONDS
            while True:
                news.clear()
                before = self.seq
                async for lines in self._now():
                    yield lines
                if self.seq > before:
                    patience = FIRST_ASK_SECONDS
                    continue
                end = await self._end_with_state() if follow else self._end()
                if end is not None:
                    yield msgspec.json.encode(end) + b"\n"
                    return
                if not follow:
                    if self._unknown():
                        raise RetryLater("nobody can tell now what is stored", component="postgres")
                    return
                yield b""
                came = await _comes(news, patience)
                if not came:
                    patience = min(2 * patience, LAST_ASK_SECONDS)
                if not came or self._library.memory.view(self._key, self.seq) is None:
                    news.clear()
                    await self._ask(news)

    async def _now(self) -> AsyncIterator[bytes]:
        view = self._view()
        if view.frames:
            for frame in view.frames:
                lines = skip_lines(_lines(frame), max(0, self.seq - frame.first_seq))
                self.seq = frame.last_seq + 1
                yield lines
            return
        if self.seq <= self._stored_to(view):
            async for piece in self._stored(over_gaps=self._closed(view)):
                self.seq = piece.next_seq
                yield piece.lines

    async def _stored(self, *, over_gaps: bool) -> AsyncIterator[Piece]:
        library, key = self._library, self._key
        pieces = stored_lines(
            library.objects, functools.partial(library.index.chunks, key), self.seq, over_gaps=over_gaps
        )
        while (piece := await library.run(lambda: next(pieces, None))) is not None:
            yield piece

    def _view(self) -> View:
        return self._library.memory.view(self._key, self.seq) or View([], None, None)

    def _stored_to(self, view: View) -> int:
        stored = 0 if view.head is None else view.head.last_seq
        return max(stored, 0 if self._state is None else self._state.last_seq or 0)

    def _unknown(self) -> bool:
        return self._state is None and self._view().head is None

    def _closed(self, view: View) -> bool:
        return (view.head is not None and view.head.closed) or (
            self._state is not None and bool(self._state.closed)
        )

    def _end(self) -> EndOfLog | None:
        """How the log ends, if this reader has all of it."""
        view, state = self._view(), self._state or LogState(*self._key)
        unbroken = view.head is None or not view.head.gaps
        if view.end_seq is not None and self.seq > view.end_seq and unbroken:
            return EndOfLog(end=True, last_seq=view.end_seq, state=state.state)
        if view.head is not None and view.head.closed:
            head = view.head
            state = msgspec.structs.replace(
                state, lines=head.lines, last_seq=head.last_seq, end_seq=head.end_seq, closed=True
            )
        if view.frames:
            return None
        end = closed_end(state) if state.closed else end_of(state, self._library.close_seconds)
        return end if end is not None and self.seq > end.last_seq else None

    async def _end_with_state(self) -> EndOfLog | None:
        """The end, with the state that the attempt ended in if that comes soon."""
        deadline = asyncio.get_running_loop().time() + STATE_SECONDS
        patience = FIRST_STATE_SECONDS
        while (end := self._end()) is not None and end.state is None:
            await self._ask()
            if asyncio.get_running_loop().time() >= deadline:
                return self._end()
            if self._state is None or self._state.state is None:
                await asyncio.sleep(patience)
                patience = min(2 * patience, FIRST_ASK_SECONDS)
        return end

    async def _ask(self, news: asyncio.Event | None = None, seconds: float = 0.0) -> None:
        """Learn how the log stands, unless `news` come first: a server that hangs holds up no line.

        An answer that comes later is found by the next call: each may be late, or news be faster than all.
        """
        asked = self._asked = self._asked or self._library.states.ask(self._key)
        coming = asyncio.ensure_future((news or asyncio.Event()).wait())
        try:
            await asyncio.wait(
                (asked, coming), timeout=seconds or ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            coming.cancel()
        if not asked.done():
            return
        self._asked = None
        try:
            self._state = asked.result()
        except RetryLater as error:
            # What is in memory can be read all the same; the index is asked again when nothing comes.
            log.info("state of a log unknown for now", job_id=self._key[0], error=str(error))


async def _comes(news: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True


@functools.lru_cache(maxsize=16)
def _lines(frame: Frame) -> bytes:
    """Decompressed once for all who follow the log."""
    return frame.lines()
