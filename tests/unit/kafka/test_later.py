from __future__ import annotations

from collections.abc import Mapping

from penstock.kafka.later import AGAIN_SECONDS, CROWDED_BYTES, Later
from penstock.kafka.memory import MemoryBus, MemoryGroupSource
from penstock.kafka.ports import MAX_RECORDS
from penstock.kafka.records import Partition, Record
from penstock.testing.clock import ManualClock

P, Q = ("t", 0), ("t", 1)


class Noting(MemoryGroupSource):
    """A source that notes how far work was stated as done; None: everything handed out."""

    def __init__(self) -> None:
        super().__init__(MemoryBus(2, ManualClock()), ["t"], "g", None, None)
        self.stated: list[Mapping[Partition, int] | None] = []

    def commit(self, upto: Mapping[Partition, int] | None = None) -> None:
        self.stated.append(upto)


def one(offset: int, partition: Partition = P) -> Record:
    return Record(*partition, offset, b"key", b"value", None, 0)


def test_a_stream_of_records_that_are_put_off_holds_up_none_of_them() -> None:
    later = Later()
    came: list[int] = []
    for n in range(10):
        now = n * AGAIN_SECONDS * 0.8
        came += [record.offset for record in later.take_due(now)]
        later.put_off([one(n)], now + AGAIN_SECONDS)
    assert came == list(range(8)), "every other turn, those of two turns"


def test_what_was_put_off_again_waits_again() -> None:
    later = Later()
    later.put_off([one(1)], AGAIN_SECONDS)
    assert later.take_due(AGAIN_SECONDS / 2) == []
    later.put_off(later.take_due(AGAIN_SECONDS), 2 * AGAIN_SECONDS)
    assert later.take_due(AGAIN_SECONDS * 1.5) == []
    assert later.take_due(AGAIN_SECONDS * 2) == [one(1)]


def test_the_offset_behind_what_waits_is_not_committed() -> None:
    later, source = Later(), Noting()
    later.put_off([one(3)], 0.0)
    later.commit(source, [one(2), one(3), one(4), one(7, Q)])
    later.put_off(later.take_due(1.0), 1.0)
    later.commit(source, [one(5)])
    assert source.stated == [{P: 3, Q: 8}, {P: 3, Q: 8}]
    assert later.take_due(2.0) == [one(3)]
    later.commit(source, [one(3)])
    assert source.stated[2:] == [None]


def test_how_far_a_partition_was_done_is_forgotten_with_the_partition() -> None:
    """It comes back, and is read again from what was committed, which may be far behind that."""
    later, source = Later(), Noting()
    later.put_off([one(1), one(0, Q)], 0.0)
    later.commit(source, [one(0), one(1), one(2), one(0, Q)])
    later.keep({Q})
    later.keep({P, Q})
    later.commit(source, [one(1, Q)])
    assert source.stated == [{P: 1, Q: 0}, {Q: 0}]
    assert later.take_due(1.0) == [one(0, Q)]


def test_a_partition_is_crowded_by_records_or_by_bytes() -> None:
    later = Later()
    later.put_off([one(n) for n in range(MAX_RECORDS - 1)], 0.0)
    later.put_off([one(0, Q)._replace(value=bytes(CROWDED_BYTES))], 0.0)
    assert later.crowded() == {Q}
    later.put_off([one(MAX_RECORDS)], 9.0)
    assert later.crowded() == {P, Q}
    assert len(later.take_due(1.0)) == MAX_RECORDS
    assert (later.crowded(), later.is_due(8.9), later.is_due(9.0)) == (set(), False, True)
