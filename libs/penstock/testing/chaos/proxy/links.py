"""One connection through the proxy: two pumps, and what can be done to a frame on its way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol

from penstock.testing.chaos.proxy.framing import Framing

CHUNK_BYTES: Final = 256 * 1024
Direction = Literal["up", "down"]
"""`up` is from the client to the server."""
Data = bytes | bytearray | memoryview


class Torn(Exception):
    """Both ends of the connection are to be reset."""


class Closed(Exception):
    """Both ends of the connection are to be closed in order."""


class Outlet:
    """One end of a connection, to write to."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._turn = asyncio.Lock()

    async def write(self, data: Data) -> None:
        """Send all of it."""
        async with self._turn:
            await asyncio.get_running_loop().sock_sendall(self._end, data)


class Action(Protocol):
    """What happens to a frame instead of its being passed on."""

    async def take(self, onward: Outlet, data: Data, *, last: bool) -> None:
        """A piece of it; `last`: the frame ends with it."""
        ...


class Swallow:
    """Nothing of it is passed on."""

    async def take(self, onward: Outlet, data: Data, *, last: bool) -> None:
        """See `Action`."""


class Tear:
    """So many bytes of it are passed on, then the connection is reset."""

    def __init__(self, after: int) -> None:
        self._left = after

    async def take(self, onward: Outlet, data: Data, *, last: bool) -> None:
        """See `Action`."""
        part = data[: self._left]
        self._left -= len(part)
        if part:
            await onward.write(part)
        if last or not self._left:
            raise Torn


class Wait:
    """It is passed on after so many seconds, and all behind it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def take(self, onward: Outlet, data: Data, *, last: bool) -> None:  # noqa: ARG002 - see Action
        """See `Action`."""
        seconds, self._seconds = self._seconds, 0.0
        await asyncio.sleep(seconds)
        await onward.write(data)


class Collect:
    """All of it is gathered and given to `then`, which passes on what it likes; `first` comes before."""

    def __init__(
        self,
        then: Callable[[bytes], Awaitable[None]],
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._then = then
        self._first = first
        self._frame = bytearray()

    async def take(self, onward: Outlet, data: Data, *, last: bool) -> None:  # noqa: ARG002 - see Action
        """See `Action`."""
        if self._first is not None:
            await self._first()
            self._first = None
        self._frame += data
        if last:
            await self._then(bytes(self._frame))


class Conversation(Protocol):
    """The frames of one connection, and what its rules do to them."""

    @property
    def up(self) -> Framing:
        """Of what the client sends."""
        ...

    @property
    def down(self) -> Framing:
        """Of what the server sends."""
        ...

    def asked(self, head: bytes, data: Data) -> Action | None:
        """A frame of the client begins; None passes it on."""
        ...

    def answered(self, head: bytes, data: Data) -> Action | None:
        """A frame of the server begins; None passes it on."""
        ...

    def delivered(self) -> None:
        """A frame of the server has ended and was passed on."""
        ...


class Way(Protocol):
    """What a link asks its door."""

    async def connect(self) -> socket.socket:
        """To the server. Raises OSError."""
        ...

    async def passage(self, direction: Direction, size: int) -> None:
        """Returns when so many bytes may go on their way."""
        ...

    def converse(self, client: Outlet, server: Outlet) -> Conversation:
        """The conversation of a new connection."""
        ...


class Link:
    """A connection of a client, and the one to the server that belongs to it."""

    def __init__(self, way: Way, client: socket.socket) -> None:
        self._way = way
        self._client = client

    async def run(self) -> None:
        """Carry it until it ends; when cancelled both ends are reset.

        Raises:
            Exception: a fault of the proxy itself.
        """
        reset = True
        with contextlib.ExitStack() as ends:
            ends.callback(lambda: close(self._client, reset=reset))
            try:
                await self._way.passage("up", 0)
                server = await self._way.connect()
            except OSError:
                return
            ends.callback(lambda: close(server, reset=reset))
            _quick(server)
            _quick(self._client)
            try:
                await self._carry(server)
                reset = False
            except Closed:
                reset = False
            except (Torn, OSError):
                pass

    async def _carry(self, server: socket.socket) -> None:
        to_client, to_server = Outlet(self._client), Outlet(server)
        talk = self._way.converse(to_client, to_server)
        pumps = [
            asyncio.ensure_future(self._pump("up", self._client, server, to_server, talk)),
            asyncio.ensure_future(self._pump("down", server, self._client, to_client, talk)),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, way: Direction, source: socket.socket, sink: socket.socket, onward: Outlet, talk: Conversation
    ) -> None:
        loop = asyncio.get_running_loop()
        framing, decide = (talk.up, talk.asked) if way == "up" else (talk.down, talk.answered)
        buffer = memoryview(bytearray(CHUNK_BYTES))
        action: Action | None = None
        while size := await loop.sock_recv_into(source, buffer):
            await self._way.passage(way, size)
            passed: list[Data] = []
            ended = False
            for head, data, last in framing.feed(buffer[:size]):
                if head is not None:
                    action = decide(head, data)
                if action is None:
                    passed.append(data)
                else:
                    await _flush(onward, passed)
                    await action.take(onward, data, last=last)
                ended = ended or last
            await _flush(onward, passed)
            if ended and way == "down":
                talk.delivered()
        with contextlib.suppress(OSError):  # the other end is gone, too
            sink.shutdown(socket.SHUT_WR)


async def _flush(onward: Outlet, passed: list[Data]) -> None:
    if passed:
        await onward.write(passed[0] if len(passed) == 1 else b"".join(passed))
        passed.clear()


def _quick(end: socket.socket) -> None:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def close(end: socket.socket, *, reset: bool) -> None:
    """In order, or by RST."""
    if reset:  # to be closed with something unsent makes the kernel send RST
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
