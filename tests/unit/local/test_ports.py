"""Ports are free, distinct, and never the same for two stacks."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from penstock.core.errors import StopProcess
from penstock.local import ports


@pytest.fixture
def reserved() -> Iterator[ports.Ports]:
    one = ports.Ports()
    yield one
    one.close()


def listening() -> socket.socket:
    return socket.create_server((ports.HOST, 0))


def test_a_busy_port_leads_to_the_next(reserved: ports.Ports) -> None:
    with listening() as server:
        busy = server.getsockname()[1]
        assert not ports.is_free(busy)
        assert reserved.reserve(busy) > busy


def test_the_same_wish_twice_gives_two_ports(reserved: ports.Ports) -> None:
    assert reserved.reserve(21_500) != reserved.reserve(21_500)


def test_two_stacks_never_share_and_the_port_stays_free_for_its_server(reserved: ports.Ports) -> None:
    first = reserved.reserve(21_600)
    other = ports.Ports()
    try:
        assert other.reserve(first) != first
    finally:
        other.close()
    with socket.create_server((ports.HOST, first)):
        pass


def test_closing_gives_them_back() -> None:
    first, second = ports.Ports(), ports.Ports()
    port = first.reserve(21_700)
    first.close()
    assert second.reserve(port) == port
    second.close()


def test_none_left_says_what_to_set(reserved: ports.Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(StopProcess, match="PENSTOCK_"):
        reserved.reserve(21_800)
