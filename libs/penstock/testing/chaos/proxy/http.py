"""S3 over HTTP/1.1: requests and answers with their bodies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from penstock.testing.chaos.proxy.doors import Door
from penstock.testing.chaos.proxy.framing import Piece
from penstock.testing.chaos.proxy.links import Action, Collect, Conversation, Data, Outlet, Tear
from penstock.testing.chaos.proxy.rules import Dose, Rule

WRITES: Final = "^(PUT|POST|DELETE) "
END: Final = b"\r\n\r\n"
LINE_BYTES: Final = 1024
UNBOUNDED: Final = 1 << 62
"""Of a body that ends with its connection."""


class ObjectsDoor(Door):
    """In front of an S3 server. `like` of a rule is a regular expression for `METHOD /path`."""

    def status(self, status: int, dose: Dose = 1, *, code: str = "SlowDown", like: str = "") -> Rule:
        """The server gets nothing; this is answered in its place."""
        return self._add("status", dose=dose, value=status, text=code, like=(like,))

    def reset_mid_body(self, dose: Dose = 1, *, like: str = "") -> Rule:
        """Half of a body passes, of a request or of an answer; then the connection is reset."""
        return self._add("reset", dose=dose, like=(like,))

    def lose_answer(self, dose: Dose = 1, *, like: str = WRITES) -> Rule:
        """The server has done it; its answer is dropped and the connection reset."""
        return self._add("lose answer", dose=dose, like=(like,))

    def converse(self, client: Outlet, server: Outlet) -> Conversation:  # noqa: ARG002 - see Way
        """See `Way`."""
        return _Talk(self, client)


class _Talk:
    def __init__(self, door: ObjectsDoor, client: Outlet) -> None:
        self.up = HttpFraming(lambda _: True)
        self.down = HttpFraming(self._has_body)
        self._door = door
        self._client = client
        self._asked: deque[str] = deque()
        """First words of the requests that are not answered."""

    def asked(self, head: bytes, data: Data) -> Action | None:  # noqa: ARG002 - see Conversation
        """See `Conversation`."""
        line = head.partition(b"\r\n")[0].decode("latin-1").rpartition(" ")[0]
        if (rule := self._door.biting("status", line)) is not None:
            answer = _refusal(int(rule.value), rule.text, bodiless=line.startswith("HEAD "))
            expects = b"\r\nexpect: 100-continue" in head.lower()
            return Collect(lambda _: self._client.write(answer), self._welcome if expects else None)
        self._asked.append(line)
        if self.up.body > 1 and self._door.biting("reset", line) is not None:
            return Tear(len(head) + self.up.body // 2)
        return None

    def answered(self, head: bytes, data: Data) -> Action | None:  # noqa: ARG002 - see Conversation
        """See `Conversation`."""
        if _status(head) < 200 or not self._asked:
            return None
        line = self._asked.popleft()
        if self._door.biting("lose answer", line) is not None:
            return Tear(0)
        if self.down.body > 1 and self._door.biting("reset", line) is not None:
            return Tear(len(head) + self.down.body // 2)
        return None

    def delivered(self) -> None:
        """See `Conversation`."""

    async def _welcome(self) -> None:
        await self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _has_body(self, head: bytes) -> bool:
        status = _status(head)
        return not (
            status < 200 or status in (204, 304) or (self._asked and self._asked[0].startswith("HEAD "))
        )


class HttpFraming:
    """See `Framing`. The head of a message is all before its body; `has_body` is asked of it first."""

    def __init__(self, has_body: Callable[[bytes], bool]) -> None:
        self.body = 0
        """Bytes of the body that began last, as far as they are known before it."""
        self._has_body = has_body
        self._held = bytearray()
        self._left = 0
        self._chunked = self._trailing = False

    def feed(self, chunk: memoryview) -> Iterator[Piece]:
        """See `Framing.feed`."""
        at, end = 0, len(chunk)
        while at < end:
            if self._left:
                take = min(self._left, end - at)
                self._left -= take
                yield Piece(None, chunk[at : at + take], not (self._left or self._chunked))
            elif self._chunked:
                take = self._line(chunk[at : at + LINE_BYTES])
                yield Piece(None, chunk[at : at + take], not self._chunked)
            else:
                before = len(self._held)
                self._held += chunk[at:]
                found = self._held.find(END)
                if found < 0:
                    return
                head = bytes(self._held[: found + len(END)])
                self._held.clear()
                take = len(head) - before
                self._begin(head)
                yield Piece(head, head, not (self._left or self._chunked))
            at += take

    def _begin(self, head: bytes) -> None:
        lines = head.lower().split(b"\r\n")
        fields = {
            name.strip(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        self._left = self.body = 0
        self._chunked = self._trailing = False
        if not self._has_body(head):
            return
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            self._chunked = True
            self.body = LINE_BYTES  # more than that is not known
        elif b"content-length" in fields:
            self._left = self.body = int(fields[b"content-length"])
        elif head.startswith(b"HTTP/"):
            self._left = self.body = UNBOUNDED

    def _line(self, data: memoryview) -> int:
        """Take a line of the framing of chunks, or what has come of it; returns its bytes."""
        text = bytes(data)
        found = text.find(b"\n")
        if found < 0:
            self._held += text
            return len(text)
        line = bytes(self._held + text[:found]).strip()
        self._held.clear()
        if self._trailing:
            self._chunked = self._trailing = bool(line)
        else:
            size = int(line.partition(b";")[0], 16)
            self._left = size + 2 if size else 0
            self._trailing = not size
        return found + 1


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


def _refusal(status: int, code: str, *, bodiless: bool) -> bytes:
    body = (
        b""
        if bodiless
        else b"<Error><Code>%b</Code><Message>by the fault proxy</Message></Error>" % code.encode()
    )
    head = b"HTTP/1.1 %d %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
    return head % (status, code.encode(), len(body)) + body
