"""How far a service is behind, whatever becomes of the process that is asked."""

from __future__ import annotations

import socket
import threading

import pytest

from penstock.testing.chaos.rest import lag

METRICS = b"""\
# TYPE penstock_consumer_lag gauge
penstock_consumer_lag{topic="a",partition="0"} 2.0
penstock_consumer_lag{topic="a",partition="1"} 3.0
penstock_other{topic="a"} 7.0
"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "records"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + METRICS, 5, id="answers"),
        pytest.param(b"", 1, id="ends before it answers"),
        pytest.param(b"nonsense\r\n\r\n", 1, id="answers nonsense"),
        pytest.param(HEAD + METRICS, 1, id="dies while it answers"),
    ],
)
def test_who_does_not_answer_lags_by_one(answer: bytes, records: int) -> None:
    def serve() -> None:
        end, _ = listening.accept()
        with end:
            end.recv(10_000)
            end.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        assert lag(listening.getsockname()[1]) == records
        thread.join()


def test_who_is_away_lags_by_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert lag(port) == 1
