"""What every door does, before servers of a few lines."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from penstock.testing.chaos.proxy import DOWN, UP, Proxies

Serve = Callable[[socket.socket], None]


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with Proxies(seed=7) as made:
        yield made


@contextlib.contextmanager
def server(serve: Serve) -> Iterator[int]:
    """Serves each connection in a thread; gives its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def handle(end: socket.socket) -> None:
        with end, contextlib.suppress(OSError):
            serve(end)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = listening.accept()
                threads.append(threading.Thread(target=handle, args=(end,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join()


def echo(end: socket.socket) -> None:
    """Gives back whatever comes."""
    while data := end.recv(100_000):
        end.sendall(data)


def connect(port: int) -> socket.socket:
    end = socket.create_connection(("127.0.0.1", port), timeout=10)
    end.settimeout(10)
    return end


def ask(port: int, data: bytes) -> bytes:
    """One byte of the answer."""
    with connect(port) as end:
        end.sendall(data)
        return end.recv(1)


def read(end: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = bytearray()
    while len(data) < size:
        part = end.recv(size - len(data))
        if not part:
            raise EOFError(bytes(data))
        data += part
    return bytes(data)


def until(done: Callable[[], bool]) -> None:
    """Wait for what the proxy's thread will do."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def frame(correlation: int, size: int = 100, api: int = 3) -> bytes:
    """A request to Kafka, which an echo answers by itself."""
    body = struct.pack(">hhi", api, 10, correlation) + struct.pack(">h", 5) + b"tests" + bytes(size)
    return struct.pack(">i", len(body)) + body


def test_a_large_stream_passes_both_ways_unchanged(proxies: Proxies) -> None:
    with server(echo) as port:
        proxies.kafka.target("127.0.0.1", port)
        data = b"".join(frame(n, size) for n, size in enumerate((10, 5_000_000, 3, 70_000, 1, 1) * 3))
        with connect(proxies.kafka.port) as end:
            sending = threading.Thread(target=end.sendall, args=(data,))
            sending.start()
            assert read(end, len(data)) == data
            sending.join()
            end.shutdown(socket.SHUT_WR)
            assert end.recv(1) == b""


def test_a_server_that_is_away_or_not_known(proxies: Proxies) -> None:
    with pytest.raises(ConnectionResetError):
        ask(proxies.postgres.port, b"")
    with server(echo) as port:
        pass
    proxies.postgres.target("127.0.0.1", port)
    with pytest.raises(ConnectionResetError):
        ask(proxies.postgres.port, b"")


def test_cut(proxies: Proxies) -> None:
    with server(echo) as port:
        proxies.kafka.target("127.0.0.1", port)
        with connect(proxies.kafka.port) as end:
            end.sendall(frame(1))
            read(end, len(frame(1)))
            rule = proxies.kafka.cut()
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        with pytest.raises(ConnectionResetError):
            ask(proxies.kafka.port, b"")
        assert rule.hits == 2
        rule.lift()
        rule.lift()
        with connect(proxies.kafka.port) as end:
            end.sendall(frame(1))
            assert read(end, len(frame(1))) == frame(1)
        assert rule.hits == 2


def test_all_rules_are_lifted_at_once(proxies: Proxies) -> None:
    with server(echo) as port:
        proxies.kafka.target("127.0.0.1", port)
        proxies.kafka.lift_all()
        proxies.kafka.hang()
        proxies.kafka.slow(1)
        proxies.kafka.one_way(DOWN)
        with connect(proxies.kafka.port) as end:
            end.sendall(frame(1))
            proxies.kafka.lift_all()
            assert read(end, len(frame(1))) == frame(1)


def test_hang_holds_everything_back_and_loses_nothing(proxies: Proxies) -> None:
    with server(echo) as port:
        proxies.kafka.target("127.0.0.1", port)
        with connect(proxies.kafka.port) as end:
            rule = proxies.kafka.hang()
            end.sendall(frame(1))
            with connect(proxies.kafka.port) as other:
                other.sendall(frame(2))
                for one in (end, other):
                    one.settimeout(0.1)
                    with pytest.raises(TimeoutError):
                        one.recv(1)
                    one.settimeout(10)
                until(lambda: rule.hits == 2)
                rule.lift()
                assert read(end, len(frame(1))) == frame(1)
                assert read(other, len(frame(2))) == frame(2)


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_one_way(proxies: Proxies, direction: str) -> None:
    came = threading.Event()

    def serve(end: socket.socket) -> None:
        data = read(end, len(frame(1)))
        came.set()
        end.sendall(data)

    with server(serve) as port:
        proxies.kafka.target("127.0.0.1", port)
        with connect(proxies.kafka.port) as end:
            # Not before the connection stands: to the server it would not come otherwise.
            time.sleep(0.1)
            rule = proxies.kafka.one_way(UP if direction == UP else DOWN)
            end.sendall(frame(1))
            assert came.wait(60.0 if direction == DOWN else 0.2) == (direction == DOWN)
            until(lambda: rule.hits == 1)
            end.settimeout(0.1)
            with pytest.raises(TimeoutError):
                end.recv(1)
            rule.lift()
            end.settimeout(10)
            assert read(end, len(frame(1))) == frame(1)


def test_delay_and_slow(proxies: Proxies) -> None:
    with server(echo) as port:
        proxies.kafka.target("127.0.0.1", port)
        with connect(proxies.kafka.port) as end:

            def took(data: bytes) -> float:
                began = time.monotonic()
                end.sendall(data)
                assert read(end, len(data)) == data
                return time.monotonic() - began

            late = proxies.kafka.delay(150, 50)
            assert took(frame(1)) >= 0.15
            late.lift()
            slow = proxies.kafka.slow(1_000_000)
            assert took(frame(1, 150_000)) >= 0.15
            slow.lift()
            assert late.hits >= 1
            assert slow.hits >= 1


def test_a_lost_answer_is_that_of_a_produce_request_of_the_client(proxies: Proxies) -> None:
    with server(echo) as port:
        proxies.kafka.target("127.0.0.1", port)
        others = proxies.kafka.lose_produce_answer(1, client="^somebody")
        rule = proxies.kafka.lose_produce_answer(1, client="^tests")
        # The echo's correlation id is where a request has its api key and version.
        with connect(proxies.kafka.port) as end:
            end.sendall(frame(1))
            read(end, len(frame(1)))
            end.sendall(frame((0 << 16) | 10, api=0))
            with pytest.raises(ConnectionResetError):
                read(end, 1)
        assert (rule.hits, others.hits) == (1, 0)


def test_chance_is_decided_by_the_seed() -> None:
    def bitten(seed: int) -> list[bool]:
        with Proxies(seed) as proxies:
            rule = proxies.kafka.lose_produce_answer(0.5)
            return [rule.bites("anybody") for _ in range(50)]

    assert bitten(1) == bitten(1) != bitten(2)
    assert 10 < sum(bitten(1)) < 40


def test_a_fault_of_the_proxy_itself_is_told_at_the_end() -> None:
    proxies = Proxies()
    with server(echo) as port:
        proxies.__enter__()
        proxies.s3.target("127.0.0.1", port)
        with pytest.raises(ConnectionResetError):
            ask(proxies.s3.port, b"PUT / HTTP/1.1\r\nContent-Length: many\r\n\r\n")
        with pytest.raises(BaseExceptionGroup, match="proxy of s3"):
            proxies.__exit__()
