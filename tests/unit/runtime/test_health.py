from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from penstock.core.errors import StopProcess
from penstock.runtime.health import HealthServer
from penstock.runtime.metrics import Metrics


class Loop:
    alive = True
    ready = False


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def server(loop: Loop) -> Iterator[HealthServer]:
    server = HealthServer(
        "127.0.0.1", 0, alive=lambda: loop.alive, ready=lambda: loop.ready, metrics=Metrics()
    )
    yield server
    server.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_alive_while_the_loop_beats(server: HealthServer, loop: Loop) -> None:
    assert get(server, "/healthz") == (200, "ok\n")
    loop.alive = False
    assert get(server, "/healthz") == (503, "stuck\n")


def test_ready_once_the_process_says_so(server: HealthServer, loop: Loop) -> None:
    assert get(server, "/readyz") == (503, "starting\n")
    loop.ready = True
    assert get(server, "/readyz") == (200, "ready\n")


def test_metrics_in_prometheus_text(server: HealthServer) -> None:
    status, text = get(server, "/metrics")
    assert status == 200
    assert "# HELP penstock_queue_depth" in text


def test_other_paths_are_told_the_right_ones(server: HealthServer) -> None:
    status, text = get(server, "/")
    assert status == 404
    assert "/healthz" in text


def test_a_port_in_use_is_a_clear_error(server: HealthServer) -> None:
    with pytest.raises(StopProcess, match="PENSTOCK_HTTP_PORT"):
        HealthServer("127.0.0.1", server.port, alive=bool, ready=bool, metrics=Metrics())
