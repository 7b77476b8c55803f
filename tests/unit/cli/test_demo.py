"""The demo says no when reality is not what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from tests.unit.client.fake_gateway import (
    PIPELINE,
    TOKEN,
    FakeGateway,
    job,
    job_id,
    life,
    lines,
    pipeline,
    status,
)

from penstock.cli import demo, exit_codes
from penstock.cli.demo.acts import ACTS, Act, End
from penstock.cli.demo.audience import Audience
from penstock.cli.demo.measures import Measures
from penstock.cli.follow import Screen
from penstock.cli.view import PipelineView
from penstock.client import Client
from penstock.core.errors import StopProcess
from penstock.definition import check, load_yaml
from penstock.local.stack import GatewayAccess, KafkaAccess, PostgresAccess, S3Access, Stack
from penstock.testing.clock import ManualClock

START = 1_767_323_045.0  # of fake_gateway.AT

ONE_JOB = Act("title", "moral", "file", "SUCCESS", {"a": End("SUCCESS")})
CANCELLED = Act("title", "moral", "file", "CANCELLED", {"a": End("CANCELLED", "cancelled")}, cancel_at=2)


def seen(*records: dict[str, Any]) -> PipelineView:
    view = PipelineView(PIPELINE)
    for record in records:
        view.apply(record)  # type: ignore[arg-type]
    return view


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.file)
def test_each_act_knows_all_jobs_of_its_file(act: Act) -> None:
    definition = check(load_yaml((demo.FILES / act.file).read_bytes()))
    assert {job.name for job in definition.jobs} == set(act.jobs)


def test_an_end_as_expected_has_no_faults() -> None:
    assert ONE_JOB.faults(seen(*life(1, "a"), status(1, "SUCCESS"))) == []


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ([*life(1, "a"), status(1, "FAILED")], "it ended FAILED, expected SUCCESS"),
        ([status(1, "SUCCESS")], "its jobs are , expected a"),
        ([*life(1, "a"), *life(2, "b"), status(1, "SUCCESS")], "its jobs are a, b, expected a"),
        (
            [*life(1, "a", "FAILED", reason="worker-lost"), status(1, "SUCCESS")],
            "a ended as FAILED (its runner was lost) after 1 attempts, expected SUCCESS after 1 attempts",
        ),
        (
            [status(1, "SUCCESS", job_id=job_id(1), name="a", attempt=2), status(1, "SUCCESS")],
            "a ended as SUCCESS after 2 attempts, expected SUCCESS after 1 attempts",
        ),
    ],
)
def test_any_other_end_is_a_fault(records: list[dict[str, Any]], fault: str) -> None:
    assert fault in ONE_JOB.faults(seen(*records))


def test_latencies_come_from_the_records() -> None:
    measures = Measures()
    measures.submitted(PIPELINE, START - 0.5)
    for second, record in enumerate(life(1, "a")):
        measures.status(
            {**record, "attempt": int(second > 0), "at": f"2026-01-02T03:04:{5 + second:02d}Z"}, START
        )  # type: ignore[arg-type, typeddict-item]
    early = {"seq": 1, "ts": int(START * 1000), "stream": "stdout", "text": "replayed"}
    late = {"seq": 2, "ts": int(START * 1000) + 500, "stream": "stdout", "text": "tailed"}
    measures.lines(job_id(1), 1, [early, late], START + 0.75)  # type: ignore[list-item]
    assert list(measures.table()) == [
        ("asked for -> first job RUNNING", [2.5]),
        ("QUEUED -> ASSIGNED", [1.0]),
        ("ASSIGNED -> RUNNING", [1.0]),
        ("line written -> seen here", [0.25]),
    ]


class Played:
    """An audience, and what it saw."""

    def __init__(self, act: Act, client: Client) -> None:
        self.clock = ManualClock(START)
        self.audience = Audience(act, client, self.clock, Measures(), Screen())
        self.view = seen(*life(1, "a")[:3])
        self.job = self.view.jobs[job_id(1)]

    def write(self, *records: dict[str, Any]) -> None:
        self.audience.lines(self.view, self.job, 1, records)  # type: ignore[arg-type]

    def status(self, record: dict[str, Any]) -> None:
        change = self.view.apply(record)  # type: ignore[arg-type]
        assert change is not None
        self.audience.status(self.view, change, record)  # type: ignore[arg-type]


def test_a_missing_line_is_a_fault() -> None:
    played = Played(ONE_JOB, Client("http://x", "x"))
    first, _, third, end = lines("1", "2", "3")
    played.write(first)
    played.write(third)
    played.audience.log_ended(played.view, played.job, 1, {**end, "last_seq": 4})  # type: ignore[typeddict-item]
    assert played.audience.faults == [
        "line 3 of a came in place of line 2",
        "the log of a has 4 lines, 3 came",
    ]


def cancelled(gateway: FakeGateway, processes: list[int]) -> list[str]:
    """What is found when a job that told of these processes is CANCELLED."""
    gateway.pipelines[PIPELINE] = pipeline()
    played = Played(CANCELLED, Client(gateway.url, TOKEN))
    played.write(*lines(*(f"child is process {process}" for process in processes))[:-1])
    assert [path for method, path, _ in gateway.calls if method == "POST"] == [
        f"/v1/pipelines/{PIPELINE}/cancel"
    ]
    about = {"job_id": job_id(1), "name": "a", "attempt": 1, "reason": "cancelled"}
    played.status(status(4, "CANCELLED", **about))
    return played.audience.faults


def test_a_process_that_outlives_its_job_is_a_fault(gateway: FakeGateway) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert cancelled(gateway, [dead.pid, os.getpid()]) == [
        f"a is CANCELLED and processes [{os.getpid()}] live"
    ]


def test_dead_processes_are_none(gateway: FakeGateway) -> None:
    dead = [subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2)]
    for process in dead:
        process.wait()
    assert cancelled(gateway, [process.pid for process in dead]) == []


def test_an_act_that_hangs_ends_the_demo() -> None:
    played = Played(ONE_JOB, Client("http://x", "x"))
    played.audience.tick(played.view, START)
    played.clock.advance(61.0)
    with pytest.raises(StopProcess, match="stuck"):
        played.audience.tick(played.view, START)


def test_the_demo_fails_when_its_pipelines_end_otherwise(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.jobs[PIPELINE] = [job(1, "lint")]
    gateway.emit(status(1, "PENDING"), *life(1, "lint"), status(2, "SUCCESS"))
    gateway.write(1, *lines("x"))
    access = (KafkaAccess("k"), PostgresAccess("p"), S3Access("s", "a", "b", "c"), GatewayAccess(gateway.url))
    assert demo.run_demo(Stack(*access, TOKEN, {}, [])) == exit_codes.PIPELINE_FAILED
    shown = capsys.readouterr().out
    assert "not as expected" in shown
    assert f"penstock logs {PIPELINE}/integration" in shown
