"""What a batch and its results leave to do."""

from __future__ import annotations

import pytest

from penstock.core.errors import DeadLetter
from penstock.events import topics
from penstock.events.workers import Stored, control
from penstock.runtime.metrics import Metrics
from penstock.store.logs import Head
from penstock.testing.log_frames import FIRST_TS, SESSION, as_read, frame
from penstock_services.logs import handle
from penstock_services.logs.archive import Indexed, Known, Refused
from penstock_services.logs.decide import Limits
from penstock_services.logs.frames import read_frame
from penstock_services.logs.memory import Answer, Memory

JOB = "01890000-0000-7000-8000-000000000001"
KEY = (JOB, 1)


@pytest.fixture
def memory() -> Memory:
    found = Memory(Limits(100_000, 10, 30), 1024 * 1024)
    found.assign([0])
    return found


def test_a_batch(memory: Memory) -> None:
    metrics = Metrics()
    good, bad = frame(JOB, 1, 5), frame(JOB, 6, 9)._replace(value=b"x")
    lost = as_read(frame(JOB, 1, 5), 0, partition=1)
    step = handle.take(memory, [as_read(good, 0), as_read(bad, 1), lost], 0.0, FIRST_TS / 1000 + 2, metrics)
    assert step.changed == {KEY}
    assert step.answers == []
    assert [(dead.record.offset, dead.error) for dead in step.dead] == [(1, "DeadLetter")]
    assert b'penstock_log_visible_latency_seconds_bucket{le="2.5"} 1.0' in metrics.text()
    assert b'penstock_log_visible_latency_seconds_bucket{le="1.0"} 0.0' in metrics.text()


def test_an_error_of_ours_costs_one_record(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(handle, "read_frame", broken)
    step = handle.take(memory, [as_read(frame(JOB, 1, 5), 0)], 0.0, 0.0, Metrics())
    assert [dead.reason for dead in step.dead] == ["KeyError: 'x'"]


def test_results(memory: Memory) -> None:
    memory.read(as_read(frame(JOB, 1, 5), 0))
    memory.take(read_frame(as_read(frame(JOB, 1, 5), 0), 0))
    assert handle.settle(memory, [Known({KEY: Head()}, asked=True)]) == ([], [], {KEY})
    (cut,) = memory.cuts(10, 8)
    step = handle.settle(memory, [Indexed(cut, cut.after(), won=True)])
    assert step == ([Answer(SESSION, Stored(JOB, 1, 5))], [], {KEY})


def test_a_refused_cut_comes_back_as_its_records(memory: Memory) -> None:
    record = as_read(frame(JOB, 1, 5, end=True), 0)
    memory.read(record)
    memory.take(read_frame(record, 0))
    memory.know({KEY: Head()})
    (cut,) = memory.cuts(10, 8)
    step = handle.settle(memory, [Refused(cut, "no such thing")])
    (dead,) = step.dead
    assert (dead.reason, dead.error) == ("no such thing", "PoisonRow")
    assert dead.record._replace(timestamp_ms=0) == record._replace(timestamp_ms=0)
    assert read_frame(dead.record, 0).lines() == read_frame(record, 0).lines()
    assert handle.settle(memory, [Refused(cut, "no such thing")]).dead == []


def test_answers_are_one_record_a_session_with_the_newest_of_each_log() -> None:
    answers = [
        Answer("a", Stored(JOB, 1, 5)),
        Answer("b", Stored(JOB, 2, 1)),
        Answer("a", Stored(JOB, 1, 9)),
        Answer("a", Stored(JOB, 2, 3)),
    ]
    records = handle.answers_out(answers, 0.0, "logs-0")
    assert [(record.topic, record.key) for record in records] == [
        (topics.WORKERS_CONTROL.name, "a"),
        (topics.WORKERS_CONTROL.name, "b"),
    ]
    assert control.decode(records[0].value).stored == [Stored(JOB, 1, 9), Stored(JOB, 2, 3)]


def test_large_answers_are_split() -> None:
    answers = [Answer("a", Stored(JOB, attempt, 1)) for attempt in range(handle.ANSWERS_PER_RECORD + 1)]
    records = handle.answers_out(answers, 0.0, "logs-0")
    assert [len(control.decode(record.value).stored) for record in records] == [
        handle.ANSWERS_PER_RECORD, 1,
    ]  # fmt: skip


def test_a_line_behind_the_end_is_dead(memory: Memory) -> None:
    batch = [as_read(frame(JOB, 1, 5, end=True), 0), as_read(frame(JOB, 6, 6), 1)]
    step = handle.take(memory, batch, 0.0, 0.0, Metrics())
    assert [dead.error for dead in step.dead] == [DeadLetter.__name__]
