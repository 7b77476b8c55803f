"""A member of a group that is given nothing."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition

from penstock.kafka.consumer import STRANDED_AT_MOST, STRANDED_SECONDS, GroupSource
from penstock.kafka.reader import Reader
from penstock.runtime.settings import KafkaSettings
from penstock.testing.clock import ManualClock


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    """Those that a source made, the newest last; no broker ever answers them."""
    made: list[Reader] = []
    connect = GroupSource._connect

    def noted(source: GroupSource) -> Reader:
        made.append(connect(source))
        return made[-1]

    monkeypatch.setattr(GroupSource, "_connect", noted)
    return made


def source(clock: ManualClock) -> GroupSource:
    return GroupSource(KafkaSettings(kafka_bootstrap="127.0.0.1:1"), ["topic"], "group", clock=clock)


def test_a_member_without_partitions_joins_anew_less_and_less_often(clients: list[Reader]) -> None:
    clock = ManualClock(0.0)
    alone = source(clock)
    anew: list[float] = []
    for second in range(1000):
        known = len(clients)
        alone.poll(0)
        if len(clients) > known:
            anew.append(float(second))
            alone._assign(clients[-1].consumer, [])  # what a broker tells one that stands by
        clock.advance(1.0)
    waits = [later - earlier for earlier, later in zip([0.0, *anew], anew, strict=False)]
    assert waits[:5] == [STRANDED_SECONDS, 30.0, 60.0, 120.0, STRANDED_AT_MOST]
    assert set(waits[5:]) == {STRANDED_AT_MOST}
    alone.close()


def test_one_that_has_some_stays_and_is_patient_again_when_they_are_taken(clients: list[Reader]) -> None:
    clock = ManualClock(0.0)
    member = source(clock)
    member.poll(0)
    clock.advance(STRANDED_SECONDS)
    member.poll(0)
    assert len(clients) == 2
    mine = [TopicPartition("topic", 0)]
    member._assign(clients[-1].consumer, mine)
    clock.advance(10 * STRANDED_AT_MOST)
    member.poll(0)
    assert len(clients) == 2
    member._revoke(clients[-1].consumer, mine)
    clock.advance(STRANDED_SECONDS - 1)
    member.poll(0)
    assert len(clients) == 2
    clock.advance(1)
    member.poll(0)
    assert len(clients) == 3
    member.close()
