"""What the in-memory bus adds to the contract: a deterministic simulation."""

from __future__ import annotations

import pytest

from penstock.core.errors import RetryLater
from penstock.kafka.memory import MemoryBus
from penstock.kafka.records import Outgoing
from penstock.testing.clock import ManualClock


def test_records_bear_the_bus_clock() -> None:
    bus = MemoryBus(clock=ManualClock(1_700_000_000.0))
    bus.sender().send([Outgoing("t", "k", b"", [])])
    assert [record.timestamp_ms for record in bus.records("t")] == [1_700_000_000_000]


def test_seconds_back_by_the_bus_clock() -> None:
    clock = ManualClock()
    bus = MemoryBus(1, clock)
    for _ in range(5):
        bus.sender().send([Outgoing("t", "k", b"", [])])
        clock.advance(10)
    assert [record.offset for record in bus.tail(["t"], start=25.0).poll(0)] == [3, 4]


def test_the_same_seed_places_keyless_records_alike() -> None:
    def placed(seed: int) -> list[int]:
        bus = MemoryBus(8, seed=seed)
        bus.sender().send([Outgoing("t", None, b"", []) for _ in range(20)])
        return [record.partition for record in bus.records("t")]

    assert placed(1) == placed(1) != placed(2)


def test_a_bus_that_is_away() -> None:
    bus = MemoryBus()
    bus.away = True
    with pytest.raises(RetryLater):
        bus.sender().send([Outgoing("t", "k", b"", [])])
    told: list[Exception | None] = []
    bus.sender().post([Outgoing("t", "k", b"", [])], told.append)
    assert isinstance(told[0], RetryLater)
    assert bus.records("t") == []


def test_an_idle_poll_takes_no_time() -> None:
    assert MemoryBus().tail(["t"]).poll(0) == []
