from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from penstock.kafka.feeds import Feeds
from penstock.kafka.memory import MemoryBus
from penstock.kafka.records import Outgoing, Record


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(2)


def write(bus: MemoryBus, topic: str, count: int) -> None:
    bus.sender().send([Outgoing(topic, f"k{n}", str(n).encode(), []) for n in range(count)])


@pytest.fixture
def feeds(bus: MemoryBus) -> Iterator[Feeds]:
    feeds = Feeds({"jobs": bus.group(["jobs"], "g"), "hints": bus.tail(["hints"])}, max_records=10)
    feeds.start()
    yield feeds
    feeds.close()


def gather(feeds: Feeds, count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    while sum(found.values()) < count:
        got = feeds.get(1.0)
        if got is not None:
            found[got[0]] = found.get(got[0], 0) + len(got[1])
    return found


def test_batches_of_all_sources_come_by_one_door(bus: MemoryBus, feeds: Feeds) -> None:
    write(bus, "jobs", 35)
    write(bus, "hints", 25)
    assert gather(feeds, 60) == {"jobs": 35, "hints": 25}
    assert feeds.positioned()
    assert feeds.get(0.01) is None


def test_what_is_committed_stays_committed(bus: MemoryBus, feeds: Feeds) -> None:
    write(bus, "jobs", 5)
    got: list[Record] = []
    while len(got) < 5:
        _, records = feeds.get(1.0) or ("", [])
        got += records
    feeds.commit("jobs", got)
    feeds.commit("hints", [])
    feeds.close()
    assert bus.group(["jobs"], "g").poll(0) == []


def test_what_was_only_read_ahead_is_not_committed(bus: MemoryBus, feeds: Feeds) -> None:
    write(bus, "jobs", 40)
    done: list[Record] = []
    while not done:
        _, done = feeds.get(1.0) or ("", [])
    feeds.commit("jobs", done)
    feeds.close()
    again = bus.group(["jobs"], "g")
    left: list[Record] = []
    while len(left) < 40 - len(done):
        left += again.poll(0)
    assert not {record.value for record in done} & {record.value for record in left}


def test_a_receiver_bounds_what_is_on_its_way(bus: MemoryBus) -> None:
    class Slow:
        def __init__(self) -> None:
            self.batches: list[list[Record]] = []
            self.came = threading.Semaphore(0)

        def deliver(self, name: str, records: list[Record]) -> None:
            assert name == "jobs"
            self.batches.append(records)
            self.came.release()

        def failed(self, name: str, error: BaseException) -> None:
            raise AssertionError from error

    slow = Slow()
    write(bus, "jobs", 30)
    feeds = Feeds({"jobs": bus.group(["jobs"], "g")}, receiver=slow, depth=2, max_records=10)
    feeds.start()
    for _ in range(2):
        assert slow.came.acquire(timeout=10)
    assert not slow.came.acquire(timeout=0.05)
    assert len(slow.batches) == 2
    feeds.taken("jobs")
    assert slow.came.acquire(timeout=10)
    feeds.close()


def test_the_end_of_a_feed_is_told_to_the_reader() -> None:
    class Broken:
        closed = False

        def poll(self, *_bounds: Any) -> list[Record]:
            raise ValueError("the feed broke")

        def close(self) -> None:
            self.closed = True

    source: Any = Broken()
    feeds = Feeds({"jobs": source})
    feeds.start()
    with pytest.raises(ValueError, match="the feed broke"):
        feeds.get(10.0)
    feeds.close()
    assert source.closed


def test_feeds_that_never_started_close_their_sources(bus: MemoryBus) -> None:
    source = bus.tail(["hints"])
    Feeds({"hints": source}).close()
    assert source.assignment() == set()
