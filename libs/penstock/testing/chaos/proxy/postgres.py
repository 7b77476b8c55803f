"""Postgres: statements as units, from their first message to the server's `ReadyForQuery`.

A unit is a simple query, or the extended protocol's Parse to Sync. For sessions in autocommit, as all of
Penstock's are: there the Sync is the COMMIT. TLS is refused, as the local server does.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

from penstock.testing.chaos.proxy.doors import Door
from penstock.testing.chaos.proxy.framing import LengthFraming
from penstock.testing.chaos.proxy.links import (
    Action,
    Closed,
    Collect,
    Conversation,
    Data,
    Outlet,
    Swallow,
    Tear,
    Torn,
)
from penstock.testing.chaos.proxy.rules import Dose, Rule

WRITES: Final = r"^\s*(SELECT \w+_v1\(|INSERT|UPDATE|DELETE|WITH|COMMIT|TRUNCATE)"
"""Statements that may change something: the functions of the schema, and what is written out."""
FATAL: Final = frozenset(("57P01", "57P02", "57P03", "53300"))
"""They end the connection."""
AT_THE_START: Final = frozenset(("53300", "57P03"))
"""They are told to whoever connects."""

_STARTUP: Final = 196608
_NO_TLS: Final = frozenset((80877103, 80877104))
_READY: Final = b"Z\0\0\0\5I"
_FLUSH: Final = b"H\0\0\0\4"
_UNIT: Final = ("lose answer", "cut before commit", "inject")

Fate = Literal["", "lose", "cut", "inject"]


class PostgresDoor(Door):
    """In front of a server.

    `like` of a rule is a regular expression for the unit's statement; `who` one for `application_name`.
    """

    def lose_commit_answer(self, dose: Dose = 1, *, like: str = WRITES, who: str = "") -> Rule:
        """The server has done and committed it; its answer is dropped and the connection reset."""
        return self._add("lose answer", dose=dose, like=(who, like))

    def cut_before_commit(self, dose: Dose = 1, *, like: str = WRITES, who: str = "") -> Rule:
        """The server has done it, and its connection is reset before it commits."""
        return self._add("cut before commit", dose=dose, like=(who, like))

    def inject(self, sqlstate: str, dose: Dose = 1, *, like: str = "", who: str = "") -> Rule:
        """The server gets nothing; this error is answered in its place.

        57P01 ends the connection. 53300 and 57P03 are told to whoever connects; so that somebody does,
        connections that stand are reset.
        """
        kind = "inject at the start" if sqlstate in AT_THE_START else "inject"
        rule = self._add(kind, dose=dose, text=sqlstate, like=(who, like))
        if sqlstate in AT_THE_START:
            self._reset_all()
        return rule

    def converse(self, client: Outlet, server: Outlet) -> Conversation:
        """See `Way`."""
        return _Talk(self, client, server)


class _Talk:
    def __init__(self, door: PostgresDoor, client: Outlet, server: Outlet) -> None:
        self.up = LengthFraming(8, _untyped)
        self.down = LengthFraming(5, _typed)
        self._door = door
        self._client = client
        self._server = server
        self._who = ""
        self._started = False
        self._inside = False
        """Between the first message of a unit and its Sync."""
        self._fate: Fate = ""
        self._error = ""

    def asked(self, head: bytes, data: Data) -> Action | None:  # noqa: ARG002 - see Conversation
        """See `Conversation`."""
        if not self._started:
            return self._starting(int.from_bytes(head[4:8]))
        kind = head[:1]
        if not self._inside and kind in b"PQ" and self._door.looks(*_UNIT):
            return Collect(self._decide)
        if kind in b"PBDEC":
            self._inside = True
        if kind == b"S":
            self._inside = False
            if self._fate == "cut":
                return Collect(self._flush)
            if self._fate == "inject":
                return Collect(self._refuse)
        return Swallow() if self._fate == "inject" else None

    def answered(self, head: bytes, data: Data) -> Action | None:  # noqa: ARG002 - see Conversation
        """See `Conversation`."""
        kind = head[:1]
        if self._fate == "lose":
            return Tear(0) if kind == b"Z" else Swallow()
        if self._fate == "cut":
            return Tear(0) if kind in b"CEIs" else Swallow()
        return None

    def delivered(self) -> None:
        """See `Conversation`."""

    def _starting(self, code: int) -> Action | None:
        if code in _NO_TLS:
            return Collect(self._refuse_tls)
        if code == _STARTUP:
            self._started = True
            self.up.head, self.up.size = 5, _typed
            return Collect(self._start)
        return None

    async def _refuse_tls(self, _: bytes) -> None:
        await self._client.write(b"N")

    async def _start(self, message: bytes) -> None:
        words = message[8:].split(b"\0")
        given = dict(zip(words[::2], words[1::2], strict=False))
        self._who = given.get(b"application_name", b"").decode(errors="replace")
        if (rule := self._door.biting("inject at the start", self._who)) is not None:
            self._error = rule.text
            await self._refuse(b"")
        await self._server.write(message)

    async def _decide(self, message: bytes) -> None:
        """What becomes of the unit that this message, a Parse or a Query, begins."""
        simple = message[:1] == b"Q"
        subject = (self._who, _statement(message))
        self._inside = not simple
        if (rule := self._door.biting("inject", *subject)) is not None:
            self._fate, self._error = "inject", rule.text
            if simple:
                await self._refuse(b"")
            return
        if self._door.biting("cut before commit", *subject) is not None:
            if simple:  # it commits by itself: it must not even begin
                raise Torn
            self._fate = "cut"
        elif self._door.biting("lose answer", *subject) is not None:
            self._fate = "lose"
        await self._server.write(message)

    async def _flush(self, _: bytes) -> None:
        """In place of the Sync: the server says what it has done, and does not commit it."""
        await self._server.write(_FLUSH)

    async def _refuse(self, _: bytes) -> None:
        fatal = self._error in FATAL
        severity = b"FATAL" if fatal else b"ERROR"
        fields = b"S%b\0V%b\0C%b\0Minjected by the fault proxy\0\0" % (
            severity,
            severity,
            self._error.encode(),
        )
        error = b"E" + struct.pack(">i", 4 + len(fields)) + fields
        self._fate = ""
        await self._client.write(error if fatal else error + _READY)
        if fatal:
            raise Closed


def _statement(message: bytes) -> str:
    """Of a Parse (a name before it) or a Query."""
    words = message[5:].split(b"\0")
    return words[1 if message[:1] == b"P" else 0].decode(errors="replace")


def _untyped(head: bytes) -> int:
    return int.from_bytes(head[:4])


def _typed(head: bytes) -> int:
    return 1 + int.from_bytes(head[1:5])
