"""Reading the log of an attempt by one cursor: what is stored, and what only a `logs` replica has yet."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import aiohttp
import msgspec

from penstock.core.errors import RetryLater
from penstock.kafka.partitioner import partition_for
from penstock.logs.reading import Piece, end_of, stored_lines
from penstock.objects.ports import Objects
from penstock.runtime.log import logger
from penstock.store import logs, workers
from penstock.store.database import Database
from penstock.store.logs import Chunk, LogKey
from penstock.store.pool import Pool

OWNER_SECONDS: Final = 15.0
"""A `logs` replica that was not heard of for so long owns nothing."""
CONNECT_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.25
TRIES: Final = 8
"""How often a log that is not followed is asked for, when its owner changes."""
OVER: Final = b'{"end":'
"""How the end-of-log record begins."""

log = logger(__name__)


class Broken(Exception):
    """The connection to the owner ended early, or somebody else is the owner by now: ask again."""


@dataclasses.dataclass(frozen=True)
class LogShelf:
    """Where logs are. `pool` is for these reads alone: they also wait for the object storage."""

    pool: Pool
    objects: Objects
    session: aiohttp.ClientSession
    partitions: int
    close_seconds: float

    async def read(self, key: LogKey, from_seq: int, *, follow: bool) -> AsyncGenerator[bytes, None]:
        """Whole lines of NDJSON from this one on, each once, the end-of-log record last.

        Without `follow` it ends at what is there now. With it, it goes on until the end of the log, through
        every move of its owner and outage of a server.

        Raises:
            RetryLater: without `follow`: a server is away.
            ObjectMissing: what the index has is not in the object storage.
        """
        reading = _Reading(self, key, from_seq)
        tries = 0
        while True:
            try:
                async for lines in reading.once(follow=follow):
                    yield lines
                if reading.ended or not follow:
                    return
            except Broken as error:
                tries += 1
                if not follow and tries == TRIES:
                    raise RetryLater(str(error), component="logs") from None
            except RetryLater as error:
                if not follow:
                    raise
                log.info("log waited for", job_id=key[0], component=error.component, error=str(error))
            await asyncio.sleep(AGAIN_SECONDS)


def tail_session() -> aiohttp.ClientSession:
    """A client for `logs` replicas: as many readers at once as there are, each for as long as it takes."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
    )


class _Reading:
    """The cursor: the next line to be read."""

    def __init__(self, shelf: LogShelf, key: LogKey, from_seq: int) -> None:
        self._shelf = shelf
        self._key = key
        self._seq = from_seq
        self.ended = False
        """The end-of-log record was read."""

    async def once(self, *, follow: bool) -> AsyncGenerator[bytes, None]:
        """Read from whoever has the rest now. Raises Broken when that changed."""
        shelf, key = self._shelf, self._key
        state = (await shelf.pool.run(logs.states, [key]))[key]
        end = end_of(state, shelf.close_seconds)
        if end is not None:
            async for lines in self._stored(over_gaps=True):
                yield lines
            self.ended = True
            yield msgspec.json.encode(end) + b"\n"
            return
        partition = partition_for(key[0], shelf.partitions)
        owner = await shelf.pool.run(workers.log_owner, partition, seen_within=OWNER_SECONDS)
        if owner is not None:
            async for lines in self._live(owner, follow=follow):
                yield lines
        elif follow:
            raise Broken("no logs replica owns the log")
        else:
            async for lines in self._stored(over_gaps=False):
                yield lines

    async def _stored(self, *, over_gaps: bool) -> AsyncGenerator[bytes, None]:
        stored = _Stored(self._shelf, self._key, self._seq, over_gaps=over_gaps)
        while (piece := await stored.next()) is not None:
            self._seq = piece.next_seq
            yield piece.lines

    async def _live(self, owner: str, *, follow: bool) -> AsyncGenerator[bytes, None]:
        job_id, attempt = self._key
        url = f"http://{owner}/v1/tail/{job_id}/{attempt}"
        query = {"from_seq": str(self._seq), "follow": "1" if follow else "0"}
        rest = b""
        try:
            async with self._shelf.session.get(url, params=query) as answer:
                if answer.status == 503:
                    raise RetryLater((await answer.text())[:200], component="logs")
                if answer.status != 200:
                    raise Broken(f"{owner} answered {answer.status}")
                while data := await answer.content.readany():
                    whole, newline, rest = (rest + data).rpartition(b"\n")
                    if newline:
                        for lines in self._pass(whole):
                            yield lines + newline
        except (aiohttp.ClientError, OSError) as error:
            raise Broken(f"{owner}: {error}") from error
        if follow and not self.ended:
            raise Broken(f"{owner} ended before the log did")

    def _pass(self, whole: bytes) -> list[bytes]:
        """Move the cursor behind these lines; returns them, the end-of-log record by itself."""
        before, _, last = whole.rpartition(b"\n")
        if last.startswith(OVER):
            self.ended = True
            return [before, last] if before else [last]
        try:
            self._seq = _seq.decode(last).seq + 1
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Not what a line should be, but it has its number: lines have no gaps before the end.
            self._seq += whole.count(b"\n") + 1
        return [whole]


class _Seq(msgspec.Struct):
    seq: int


_seq: Final = msgspec.json.Decoder(_Seq)


class _Stored:
    """Stored lines piece by piece, each read in a thread."""

    def __init__(self, shelf: LogShelf, key: LogKey, from_seq: int, *, over_gaps: bool) -> None:
        self._pool = shelf.pool
        self._key = key
        self._db: Database
        self._pieces = stored_lines(shelf.objects, self._chunks, from_seq, over_gaps=over_gaps)

    async def next(self) -> Piece | None:
        """The next piece; None after the last one. After an error it is of no more use."""
        return await self._pool.run(self._step)

    def _step(self, db: Database) -> Piece | None:
        self._db = db
        return next(self._pieces, None)

    def _chunks(self, seq: int) -> Sequence[Chunk]:
        return logs.chunks(self._db, *self._key, seq)
