from __future__ import annotations

from penstock.kafka.records import Outgoing, Record, positions


def record(topic: str, partition: int, offset: int) -> Record:
    return Record(topic, partition, offset, None, None, None, 0)


def test_positions_are_behind_the_last_record_of_each_partition() -> None:
    batch = [record("a", 0, 5), record("a", 1, 2), record("a", 0, 6), record("b", 0, 0)]
    assert positions(batch) == {("a", 0): 7, ("a", 1): 3, ("b", 0): 1}
    assert positions([]) == {}


def test_a_place_in_words() -> None:
    assert record("penstock.jobs.reports", 3, 42).place == "penstock.jobs.reports[3]@42"


def test_size_counts_key_value_and_headers() -> None:
    assert Outgoing("t", "key", b"value", [("a", b"12")]).size == 3 + 5 + 3
    assert Outgoing("t", None, None, []).size == 0
