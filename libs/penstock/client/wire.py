"""One HTTP exchange with a gateway, and what its failures mean to a caller."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec
import orjson

from penstock.core.errors import Problem, RejectInput, RetryLater, StopProcess

READ_BYTES: Final = 64 * 1024
KEEPALIVE: Final = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""A quiet stream whose other end has vanished is noticed within these seconds."""
PROBLEM_PREFIX: Final = "urn:penstock:problem:"

Query = Sequence[tuple[str, str]]
"""Query fields; one with an empty value is left out."""

_LEAVE: Final = 4
"""Exit code of a command whose token is no good: the configuration must change first."""


class Refused(RejectInput):
    """The gateway refuses this call and always will. `status` is HTTP's, `kind` the problem's short name."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.kind = str(body.get("type", "")).removeprefix(PROBLEM_PREFIX)
        self.body = dict(body)
        if status in (401, 403):
            self.exit_code = _LEAVE
        faults = _problems(body)
        if not faults or status not in (400, 422):  # of a fault in what was sent the detail only counts
            faults.insert(0, Problem(_detail(status, body)))
        super().__init__(faults, reason=self.kind)


class Busy(RetryLater):
    """The gateway answers that it cannot do it now; `retry_after` seconds are its own wish."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, component="gateway")
        self.retry_after = retry_after


class _Gateway(NamedTuple):
    """One gateway, as its URL says."""

    url: str
    secure: bool
    host: str
    port: int
    path: str

    def connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """A connection that is not open yet."""
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        return kind(self.host, self.port, timeout=timeout_seconds)

    def foreign(self, why: str) -> StopProcess:
        """What answers is something else."""
        return StopProcess(f"what answers at {self.url} is not a Penstock gateway ({why}): check the URL")


class Body:
    """An answer that is read as it comes."""

    def __init__(self, wire: Wire, gateway: _Gateway, connection: http.client.HTTPConnection) -> None:
        self._wire = wire
        self.gateway = gateway
        self._connection = connection
        self._socket = connection.sock  # the connection forgets it when the answer is its last
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers = self._response.headers

    def read(self) -> bytes:
        """All of it. Raises `RetryLater` when the connection breaks."""
        try:
            return self._response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._wire.away(self.gateway, error) from error

    def wait_for_lines(self, quiet_seconds: float | None) -> None:
        """From now on take silences up to so long (None: any) for what they are; a dead peer is noticed."""
        assert self._socket is not None
        self._socket.settimeout(quiet_seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):  # not all of them everywhere
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def batches(self) -> Iterator[list[bytes]]:
        """Its lines without their ends, those that came together at once; a line that was cut is left out.

        Raises:
            RetryLater: the connection broke.
        """
        rest = b""
        try:
            while data := self._response.read1(READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                if lines:
                    yield lines
        except (OSError, http.client.HTTPException) as error:
            raise self._wire.away(self.gateway, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()


class Wire:
    """How to reach a gateway with one token.

    `url` may name several gateways of one installation, comma separated. Calls go to the one that answered
    last; when it is away, to the next.
    """

    def __init__(self, url: str, token: str, timeout_seconds: float) -> None:
        """Raises `RejectInput`: this is no URL, or no token."""
        if not _sendable(token):
            hint = "look at PENSTOCK_TOKEN, or at the file that PENSTOCK_TOKEN_FILE names"
            raise RejectInput(
                Problem("the token has a line break in it, or something else that no token has", hint=hint)
            )
        self._gateways = [_gateway(one.strip()) for one in url.split(",")]
        self.url = ",".join(gateway.url for gateway in self._gateways)
        self._at = 0
        """Which one is asked; threads may move it together."""
        self._token = token
        self._timeout = timeout_seconds

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON that the gateway answers.

        Raises:
            Refused: with a 4xx.
            RejectInput: a header cannot be sent.
            RetryLater: it does not answer, or with 429 or a 5xx (`Busy`).
            StopProcess: what answers is not a gateway.
        """
        more = {"Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else orjson.dumps(body)
        with contextlib.closing(self._open(method, path, query, data, {**more, **(headers or {})})) as answer:
            try:
                return orjson.loads(answer.read())
            except orjson.JSONDecodeError:
                raise answer.gateway.foreign("its answer is not JSON") from None

    def stream(
        self,
        path: str,
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        quiet_seconds: float | None,
    ) -> Body:
        """An answer read as it comes. A silence longer than `quiet_seconds` is a broken connection.

        Raises:
            Refused, RejectInput, RetryLater, StopProcess: as `call`.
        """
        body = self._open("GET", path, query, None, headers or {})
        body.wait_for_lines(quiet_seconds)
        return body

    def away(self, gateway: _Gateway, error: Exception) -> RetryLater:
        """This gateway does not answer, or stopped in the middle: the next one is asked from now on."""
        self._at = (self._gateways.index(gateway) + 1) % len(self._gateways)
        why = str(error) or type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            why = "connection refused"
        elif isinstance(error, TimeoutError):
            why = "no answer in time"
        return RetryLater(f"the gateway at {gateway.url} does not answer ({why})", component="gateway")

    def _open(
        self,
        method: str,
        path: str,
        query: Query,
        data: bytes | None,
        headers: Mapping[str, str],
    ) -> Body:
        for name, value in headers.items():
            if not _sendable(value):
                hint = "printable ASCII without line breaks can"
                raise RejectInput(Problem(f"{value!r} cannot be sent as {name}", hint=hint))
        gateway, connection = self._connect()
        given = urlencode([(name, value) for name, value in query if value])
        target = gateway.path + path + (f"?{given}" if given else "")
        try:
            connection.request(method, target, data, {"Authorization": f"Bearer {self._token}", **headers})
            body = Body(self, gateway, connection)
        except BaseException as error:  # also Ctrl-C must not leave the connection open
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise self.away(gateway, error) from error
            raise
        if 200 <= body.status < 300:
            return body
        with contextlib.closing(body):
            raise _failure(body)

    def _connect(self) -> tuple[_Gateway, http.client.HTTPConnection]:
        """A connection to the first one that takes it: nothing was asked yet, so all of them may be tried."""
        for more in reversed(range(len(self._gateways))):
            gateway = self._gateways[self._at]
            connection = gateway.connection(self._timeout)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                away = self.away(gateway, error)
                if not more:
                    raise away from error
            else:
                return gateway, connection
        raise AssertionError("there is at least one gateway")


def _sendable(value: str) -> bool:
    """Whether a header can have this value."""
    return value.isascii() and value.isprintable()


def _gateway(url: str) -> _Gateway:
    """Raises `RejectInput`: this is no URL of a gateway."""
    try:
        return _parsed(url)
    except ValueError:
        shown = url.rpartition("@")[2]  # before it stands a password, or a token
        hint = "such as http://127.0.0.1:8470: no user, no query, no blanks"
        raise RejectInput(Problem(f"{shown!r} is not the URL of a gateway", hint=hint)) from None


def _parsed(url: str) -> _Gateway:
    """Raises ValueError."""
    # urlsplit leaves some blanks out in silence; user, query and fragment we would leave out ourselves.
    if not url.isprintable() or set(url) & set(" @?#"):
        raise ValueError(url)
    parts = urlsplit(url if "://" in url else f"http://{url}")
    host, path, secure = parts.hostname, parts.path.rstrip("/"), parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host or not path.isascii():
        raise ValueError(url)
    host.encode("idna")  # as connecting does: no label is empty or has more than 63 letters
    port = parts.port if parts.port is not None else 443 if secure else 80
    return _Gateway(f"{parts.scheme}://{parts.netloc}{path}", secure, host, port, path)


def _failure(answer: Body) -> Exception:
    try:
        found = orjson.loads(answer.read())
    except (RetryLater, orjson.JSONDecodeError):
        found = None
    body: dict[str, Any] = found if isinstance(found, dict) else {}
    if answer.status >= 500 or answer.status == 429:
        wish = answer.headers.get("Retry-After", "")
        return Busy(
            f"the gateway at {answer.gateway.url}: {_detail(answer.status, body)}",
            float(wish) if wish.isdigit() else 0.0,
        )
    if answer.status >= 400 and body:
        return Refused(answer.status, body)
    return answer.gateway.foreign(f"HTTP status {answer.status}")


def _detail(status: int, body: Mapping[str, Any]) -> str:
    words = body.get("detail") or body.get("title") or http.client.responses.get(status, "")
    return f"{words} (HTTP {status})"


def _problems(body: Mapping[str, Any]) -> list[Problem]:
    try:
        return msgspec.convert(body.get("errors") or [], list[Problem])
    except msgspec.ValidationError:
        return []
