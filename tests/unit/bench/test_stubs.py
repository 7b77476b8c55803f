"""A stub runner by itself: what it starts, ends and tells, and when."""

from __future__ import annotations

import math

from bench.stubs import GATHER_SECONDS, Agenda, Stub, lasting

from penstock.core.ids import uuid7
from penstock.events import jobs, topics, workers
from penstock.events.jobs import Grant
from penstock.kafka.records import Outgoing

PIPELINE = uuid7(1)


def grants(stub: Stub, *seconds: float | None) -> workers.Grants:
    """A job each that takes so long; None says nothing."""
    made = [
        Grant(
            job_id=uuid7(10 + n),
            attempt=1,
            token=uuid7(1_000 + n),
            pipeline_id=PIPELINE,
            tenant="default",
            name=f"job-{n}",
            spec={} if one is None else {"env": lasting(one)["env"]},
        )
        for n, one in enumerate(seconds)
    ]
    return workers.Grants(stub.session, stub.beats, made)


def reports(records: list[Outgoing]) -> list[str]:
    """Kinds of all that were told."""
    return [
        report.kind
        for record in records
        if record.topic == topics.JOBS_REPORTS.name
        for report in jobs.reports.decode(as_bytes(record)).reports
    ]


def offers(records: list[Outgoing]) -> list[int]:
    """How many ended, of each offer."""
    return [
        len(workers.offer.decode(as_bytes(record)).ended)
        for record in records
        if record.topic == topics.WORKERS_OFFERS.name
    ]


def as_bytes(record: Outgoing) -> bytes:
    assert isinstance(record.value, bytes)
    return record.value


def test_a_job_starts_at_once_and_ends_after_its_time() -> None:
    stub = Stub(0, slots=1)
    stub.take(grants(stub, 2.0), now=10.0)
    assert reports(stub.news(10.0)) == ["started"]
    assert stub.next_at() == 12.0
    stub.work(11.9)
    assert reports(stub.news(11.9)) == []
    stub.work(12.0)
    told = stub.news(12.0)
    assert reports(told) == ["ended"]
    assert offers(told) == [1]  # at once: it had no slot free
    assert stub.held == {}
    assert stub.next_at() == math.inf


def test_no_more_run_than_there_are_slots() -> None:
    stub = Stub(0, slots=2)
    stub.take(grants(stub, 1.0, 1.0, 1.0), now=0.0)
    assert sorted(held.phase for held in stub.held.values()) == ["granted", "started", "started"]
    assert reports(stub.news(0.0)) == ["started", "started"]
    stub.work(1.0)
    assert sorted(reports(stub.news(1.0))) == ["ended", "ended", "started"]
    assert stub.next_at() == 2.0


def test_of_a_job_that_takes_no_time_only_the_end_is_told() -> None:
    stub = Stub(0, slots=1, default=0.0)
    stub.take(grants(stub, None, None, None), now=0.0)
    assert reports(stub.news(0.0)) == ["ended", "ended", "ended"]


def test_the_news_of_a_stub_with_free_slots_are_gathered() -> None:
    stub = Stub(0, slots=8)
    stub.take(grants(stub, 1.0, 1.05), now=0.0)
    stub.work(1.0)
    assert offers(stub.news(1.0)) == []
    stub.work(1.05)
    assert offers(stub.news(1.05)) == []
    assert stub.next_at() == 1.0 + GATHER_SECONDS
    assert offers(stub.news(1.0 + GATHER_SECONDS)) == [2]


def test_what_says_nothing_is_held_and_told_by_heartbeats() -> None:
    stub = Stub(0, slots=4)
    granted = grants(stub, None, None)
    stub.take(granted, now=0.0)
    stub.take(granted, now=1.0)  # a repeat is none
    assert stub.news(1.0) == []
    assert stub.next_at() == math.inf
    beat = workers.heartbeat.decode(as_bytes(stub.heartbeat()))
    assert [held.phase for held in beat.held] == ["started", "started"]
    assert (beat.n, beat.state) == (1, "BUSY")


def test_a_repeated_grant_of_what_has_ended_does_not_start_it_again() -> None:
    stub = Stub(0, slots=1, default=0.0)
    granted = grants(stub, None)
    stub.take(granted, now=0.0)
    stub.news(0.0)
    stub.take(granted, now=1.0)
    assert stub.news(1.0) == []


def test_who_is_silent_takes_nothing() -> None:
    stub = Stub(0, slots=1)
    stub.silent = True
    stub.take(grants(stub, 1.0), now=0.0)
    assert stub.held == {}


def test_an_agenda_keeps_the_earliest_time_of_each() -> None:
    agenda = Agenda()
    agenda.put(1, 5.0)
    agenda.put(2, 4.0)
    agenda.put(1, 3.0)
    agenda.put(1, 9.0)
    agenda.put(3, math.inf)
    assert agenda.next_at() == 3.0
    assert agenda.take(4.0) == [1, 2]
    assert agenda.take(100.0) == []
    assert agenda.next_at() == math.inf
    agenda.put(1, 9.0)
    assert agenda.take(9.0) == [1]
