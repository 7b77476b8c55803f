from __future__ import annotations

import pytest

from penstock.core.errors import StopProcess
from penstock.kafka.memory import MemoryBus
from penstock.kafka.partitioner import murmur2, partition_for, require_partitions

# The vectors of the Java client's own test (signed there).
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_another_number_of_partitions_stops_the_process() -> None:
    sender = MemoryBus(4).sender()
    require_partitions(sender, "penstock.x", 4)
    with pytest.raises(
        StopProcess, match=r"penstock\.x has 4 partitions.*PENSTOCK_KAFKA_PARTITIONS is 8.*set it to 4"
    ):
        require_partitions(sender, "penstock.x", 8)


@pytest.mark.parametrize(("data", "signed"), VECTORS.items())
def test_murmur2_as_in_the_java_client(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


def test_partition_of_text_is_that_of_its_utf8() -> None:
    assert partition_for("clé", 8) == partition_for("clé".encode(), 8)
    assert partition_for("foobar", 1000) == (-790332482 & 0x7FFFFFFF) % 1000


def test_every_partition_is_used() -> None:
    assert {partition_for(str(number), 8) for number in range(200)} == set(range(8))
