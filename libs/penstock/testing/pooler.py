"""A transaction pooler that is as unkind as one may be: every transaction gets another server connection.

Whatever leans on session state (prepared statements, SET, temporary tables, LISTEN, cursors) breaks here.
Protocol: PostgreSQL 3.0 message flow; a transaction ends where ReadyForQuery says `I`.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from penstock.store.database import raw_connection

SERVERS = 3
"""Connections to the server over which transactions rotate."""
SSL_REQUEST = 80877103
GSS_REQUEST = 80877104


@contextmanager
def pooled(dsn: str) -> Iterator[str]:
    """The libpq URL of a pooler in front of this database."""
    backends = [raw_connection(dsn) for _ in range(SERVERS)]
    listener = socket.create_server(("127.0.0.1", 0))
    pooler = _Pooler(backends, listener)
    thread = threading.Thread(target=pooler.serve, name="pooler", daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    parts = urlsplit(dsn)
    user = parts.username or "penstock"
    try:
        yield urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable"))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for backend in backends:
            backend.close()


class _Pooler:
    def __init__(self, backends: list[Any], listener: socket.socket) -> None:
        # libpq has done the log-in; from here on the bytes are ours.
        self._sockets = [socket.socket(fileno=os.dup(backend.fileno())) for backend in backends]
        for server in self._sockets:
            server.settimeout(None)
        self._turns = itertools.cycle(range(len(backends)))
        self._free = [threading.Lock() for _ in backends]
        self._listener = listener

    def serve(self) -> None:
        """Accept clients until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                break
            threading.Thread(target=self._serve_client, args=(client,), daemon=True).start()
        for server in self._sockets:
            server.close()

    def _serve_client(self, client: socket.socket) -> None:
        try:
            _greet(client)
            while self._transaction(client):
                pass
        except (OSError, EOFError):
            pass
        finally:
            client.close()

    def _transaction(self, client: socket.socket) -> bool:
        """One transaction on the next server connection; false when the client says good-bye."""
        first = _message(client)
        if first[0] == ord("X"):
            return False
        turn = next(self._turns)
        with self._free[turn]:
            server = self._sockets[turn]
            message = first
            while True:
                server.sendall(message)
                if message[0] in b"SQ" and _answer(server, client) == b"I":
                    return True
                message = _message(client)


def _greet(client: socket.socket) -> None:
    """Let the client in; encryption is declined."""
    while True:
        size = struct.unpack("!i", _exactly(client, 4))[0]
        body = _exactly(client, size - 4)
        if struct.unpack("!i", body[:4])[0] in (SSL_REQUEST, GSS_REQUEST):
            client.sendall(b"N")
            continue
        break
    client.sendall(_pack(b"R", struct.pack("!i", 0)))
    for name, value in (("server_version", "18.0"), ("client_encoding", "UTF8"), ("TimeZone", "UTC")):
        client.sendall(_pack(b"S", name.encode() + b"\0" + value.encode() + b"\0"))
    client.sendall(_pack(b"K", struct.pack("!ii", 0, 0)) + _pack(b"Z", b"I"))


def _answer(server: socket.socket, client: socket.socket) -> bytes:
    """Pass the server's messages on, up to ReadyForQuery; returns its transaction status."""
    while True:
        message = _message(server)
        client.sendall(message)
        if message[0] == ord("Z"):
            return message[5:6]


def _message(peer: socket.socket) -> bytes:
    head = _exactly(peer, 5)
    return head + _exactly(peer, struct.unpack("!i", head[1:])[0] - 4)


def _pack(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _exactly(peer: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = peer.recv(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
