"""Kafka: requests and answers, paired by correlation id.

A broker answers the requests of a connection in their order, but a client may send several before the first
answer (librdkafka does), so whose answer a frame is is known by its id alone.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final, NamedTuple

from penstock.testing.chaos.proxy.doors import Door
from penstock.testing.chaos.proxy.framing import LengthFraming
from penstock.testing.chaos.proxy.links import Action, Collect, Conversation, Data, Outlet, Tear, Wait
from penstock.testing.chaos.proxy.produce import refusal
from penstock.testing.chaos.proxy.rules import Dose, Rule

PRODUCE: Final = 0
FETCH: Final = 1
NOT_LEADER: Final = 6
_REQUEST: Final = struct.Struct(">ihhi")
"""Length, api key, version, correlation id."""
_ANSWER: Final = struct.Struct(">ii")
_TEXT: Final = struct.Struct(">h")


class KafkaDoor(Door):
    """In front of a broker, whose advertised port must be this one.

    `client` of a rule is a regular expression for the client's `client.id`.
    """

    def lose_produce_answer(self, dose: Dose = 1, *, client: str = "") -> Rule:
        """The broker has the records; its answer is dropped and the connection reset."""
        return self._add("lose produce", dose=dose, like=(client,))

    def delay_fetch(self, milliseconds: float) -> Rule:
        """Every answer with records comes so much later, and whatever is behind it on its connection."""
        return self._add("delay fetch", value=milliseconds / 1000)

    def inject_not_leader(self, dose: Dose = 1, *, client: str = "") -> Rule:
        """The broker gets nothing of a produce request; NOT_LEADER_OR_FOLLOWER is answered in its place."""
        return self._add("not leader", dose=dose, like=(client,))

    def converse(self, client: Outlet, server: Outlet) -> Conversation:
        """See `Way`."""
        return _Talk(self, client, server)


class _Asked(NamedTuple):
    api: int
    version: int


class _Talk:
    def __init__(self, door: KafkaDoor, client: Outlet, server: Outlet) -> None:
        self.up = LengthFraming(_REQUEST.size, _size)
        self.down = LengthFraming(_ANSWER.size, _size)
        self._door = door
        self._client = client
        self._server = server
        self._pending: dict[int, _Asked] = {}
        self._quiet = asyncio.Event()
        """Every answer that was owed is delivered."""
        self._quiet.set()
        self._client_id = ""

    def asked(self, head: bytes, data: Data) -> Action | None:
        """See `Conversation`."""
        _, api, version, correlation = _REQUEST.unpack(head)
        self._client_id = self._client_id or _client_id(data)
        if api == PRODUCE and self._door.biting("not leader", self._client_id) is not None:
            return Collect(self._refuse)
        self._pending[correlation] = _Asked(api, version)
        self._quiet.clear()
        return None

    def answered(self, head: bytes, data: Data) -> Action | None:  # noqa: ARG002 - see Conversation
        """See `Conversation`."""
        _, correlation = _ANSWER.unpack(head)
        asked = self._pending.pop(correlation, None)
        if asked is None:
            return None
        if asked.api == PRODUCE and self._door.biting("lose produce", self._client_id) is not None:
            return Tear(0)
        if asked.api == FETCH and (late := self._door.biting("delay fetch")) is not None:
            return Wait(late.value)
        return None

    def delivered(self) -> None:
        """See `Conversation`."""
        if not self._pending:
            self._quiet.set()

    async def _refuse(self, frame: bytes) -> None:
        await self._quiet.wait()
        await self._client.write(refusal(frame, NOT_LEADER))


def _size(head: bytes) -> int:
    return 4 + int.from_bytes(head[:4])


def _client_id(data: Data) -> str:
    """Of a request, if that much of it has come."""
    at = _REQUEST.size
    if len(data) < at + _TEXT.size:
        return ""
    (length,) = _TEXT.unpack(data[at : at + _TEXT.size])
    at += _TEXT.size
    return bytes(data[at : at + max(0, length)]).decode(errors="replace")
