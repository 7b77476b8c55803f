"""Which partition a key belongs to: murmur2, as the Java client does and librdkafka's `murmur2_random`.

Needed only by those who must know who reads a key: a runner of its own session, and services whose share of
the work is the keys of the partitions that they were given.
"""

from __future__ import annotations

from typing import Final

from penstock.core.errors import StopProcess
from penstock.kafka.ports import Sender

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def partition_for(key: str | bytes, partitions: int) -> int:
    """The partition, out of so many, to which a producer sends this key."""
    data = key.encode() if isinstance(key, str) else key
    return (murmur2(data) & 0x7FFFFFFF) % partitions


def require_partitions(sender: Sender, topic: str, expected: int) -> None:
    """Make sure that `partition_for(key, expected)` is where the broker has this topic's records of the key.

    Raises:
        StopProcess: the topic has another number of partitions: work would be nobody's, or two replicas'.
        RetryLater: no broker answered.
    """
    there = sender.partitions(topic)
    if there != expected:
        raise StopProcess(
            f"topic {topic} has {there} partitions and PENSTOCK_KAFKA_PARTITIONS is {expected}: set it to"
            f" {there} for every service, or let `penstock topics apply` add what misses (it takes none away)"
        )


def murmur2(data: bytes) -> int:
    """32-bit MurmurHash2 with Kafka's seed, unsigned."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15
