"""`penstock chaos`: what it tells of a kill, and what it does before it meets a stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import exit_codes
from penstock.cli.chaos.story import SHOWN, JobSeen, Kind, Step, Story
from penstock.cli.chaos.victim import Victim, victims
from penstock.cli.chaos.watch import _ask, is_of
from penstock.client import Client, Refused
from penstock.core.errors import RejectInput, RetryLater, StopProcess
from penstock.local.folder import NAME, StackFolder, held
from penstock.local.process import Child, started
from penstock.local.record import ProcessRecord, Record
from penstock.store.living import JobNow

JOB = JobSeen("1", "shop/test", "RUNNING", 1, 3)
PROBE = JobSeen("9", "chaos/after", "QUEUED", 0, 1)


def penstock(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["chaos", *words])


def story(kind: Kind = "worker", jobs: list[JobSeen] | None = None, probe: str = "key") -> Story:
    return Story(kind, "runner-0", [JOB] if jobs is None else jobs, probe)


def texts(lines: list[object]) -> list[str]:
    return [line.text for line in lines]  # type: ignore[attr-defined]


def step(version: int, state: str, attempt: int, reason: str | None = None, job: str = "1") -> Step:
    return Step(job, version, state, attempt, reason, None)


def test_a_killed_runner_to_its_job_running_again() -> None:
    told = story()
    assert texts(told.beginning(7, wiped=False)) == [
        "runner-0 (pid 7) is killed by SIGKILL",
        "its jobs are queued again when their leases end, a TTL after it was heard of last",
        "it ran 1 job: shop/test",
    ]
    lines = [
        *told.component(0.1, "ready", restarted=False),  # its supervisor has not noticed yet
        *told.component(0.2, "starting", restarted=True),
        *told.component(0.3, "starting", restarted=True),
        *told.component(1.0, "ready", restarted=True),
        *told.probe(1.1, PROBE),
        *told.step(1.1, step(3, "RUNNING", 1)),  # known
        *told.step(1.2, step(2, "SUCCESS", 1, job="9")),
    ]
    assert not told.is_well
    assert [job.name for job in told.waiting] == ["shop/test"]
    lines += told.step(15.0, step(4, "QUEUED", 1, "worker-lost"))
    lines += told.step(15.1, step(5, "ASSIGNED", 2))
    assert not told.is_well
    lines += told.step(15.2, step(6, "RUNNING", 2))
    lines += told.step(15.3, step(6, "RUNNING", 2))
    assert told.is_well
    assert texts(lines) == [
        "runner-0 is being started again",
        "runner-0 is ready again",
        "chaos/after, asked for after the kill, is accepted",
        "chaos/after ends well",
        "shop/test is queued again: its runner was lost",
        "shop/test is given to a runner, attempt 2",
        "shop/test runs again, attempt 2",
    ]
    end = told.end(15.3)
    assert end.text == "all is well; of 1 job none is lost: 1 RUNNING, 1 started again"
    assert end.facts["well"] is True


def test_what_is_missing_is_said_when_it_is_not_well() -> None:
    told = story()
    told.database(0.1, answers=False)
    end = told.end(9.0)
    assert end.text == (
        "not well: runner-0 is not ready again; Postgres does not answer;"
        " the job asked for after the kill has not ended; 1 job not running again: shop/test"
    )
    assert end.facts["waiting"] == ["shop/test"]


def test_a_job_that_ends_is_waited_for_no_longer() -> None:
    told = story(probe="")
    told.component(1.0, "ready", restarted=True)
    told.step(2.0, step(4, "FAILED", 1, "worker-lost"))
    assert told.is_well
    assert told.end(2.0).text == "all is well; of 1 job none is lost: 1 FAILED"


@pytest.mark.parametrize("kind", ["service", "kafka", "postgres"])
def test_whose_runner_lives_is_not_waited_for(kind: Kind) -> None:
    told = story(kind, probe="")
    assert texts(told.beginning(7, wiped=False))[-1] == "there is 1 running job: shop/test"
    told.component(1.0, "ready", restarted=True)
    assert told.is_well


def test_postgres_is_told_once_each_way() -> None:
    told = story("postgres")
    lines = [line for answers in (True, False, False, True) for line in told.database(1.0, answers=answers)]
    assert texts(lines) == ["Postgres does not answer", "Postgres answers again"]  # type: ignore[arg-type]


def test_of_many_jobs_only_some_are_followed() -> None:
    jobs = [JobSeen(str(n), f"shop/j{n}", "RUNNING", 1, 3) for n in range(SHOWN + 2)]
    told = story(jobs=jobs)
    assert texts(told.beginning(7, wiped=True))[1:] == [
        "all its records are gone as well; everything that counts is in Postgres",
        "it ran 7 jobs: shop/j0, shop/j1, shop/j2, shop/j3, shop/j4 …",
    ]
    assert told.step(1.0, step(4, "QUEUED", 1, "worker-lost", job=str(SHOWN))) == []
    assert len(told.waiting) == SHOWN + 2


@pytest.mark.parametrize(
    ("worker", "its"),
    [
        ("box/runner-1", True),
        ("box/runner-0", False),
        ("other/runner-1", False),
        ("box/runner", False),
        ("", False),
    ],
)
def test_a_runner_is_known_by_its_host_and_state_folder(
    worker: str, its: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "box")
    assert is_of(JobNow("1", "shop", "test", "RUNNING", 1, 3, worker), 1) is its


@pytest.mark.parametrize("words", [["worker"], ["service", "advancer"], ["kafka", "--wipe"], ["postgres"]])
def test_without_a_stack_it_says_how_to_start_one(words: list[str]) -> None:
    result = penstock(*words)
    assert result.exit_code == exit_codes.RETRY_LATER
    assert "penstock up" in result.stderr


def test_an_unknown_service_is_wrong_usage() -> None:
    assert penstock("service", "advnacer").exit_code == exit_codes.USAGE


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def record(folder: StackFolder, pid: int, state: str, restarts: int = 0) -> None:
    one = ProcessRecord("kafka", 0, pid, started(pid), 0, state, restarts, "")
    folder.processes.write_bytes(msgspec.json.encode(Record(Child(os.getpid(), ""), [one])))


def test_a_process_that_is_ready_is_found_wiped_and_killed(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    folder = StackFolder(tmp_path / NAME)
    log = folder.data / "kafka" / "log"
    log.mkdir(parents=True)
    with held(folder):
        record(folder, process.pid, "starting")
        with pytest.raises(RetryLater, match="kafka is not ready now"):
            victims(tmp_path, "kafka")
        record(folder, process.pid, "ready")
        with pytest.raises(RejectInput, match="has no advancer"):
            victims(tmp_path, "advancer")
        (victim,) = victims(tmp_path, "kafka")
        assert isinstance(victim, Victim)
        assert victim.now() == ("ready", False)
        victim.wipe_and_kill()
        assert process.wait() == -signal.SIGKILL
        assert list(log.parent.iterdir()) == []
        record(folder, process.pid, "restarting", restarts=1)
        assert victim.now() == ("restarting", True)
        with pytest.raises(RetryLater, match="once more"):
            victim.kill()


@pytest.mark.parametrize("formatted", [False, True], ids=["nobody else", "another broker has formatted"])
def test_who_cannot_be_killed_keeps_its_data(
    tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, *, formatted: bool
) -> None:
    folder = StackFolder(tmp_path / NAME)
    log = folder.data / "kafka" / "log"
    log.mkdir(parents=True)
    (log / "meta.properties").write_text("old")

    def refuse(_pid: int, _number: int) -> None:
        if formatted:
            log.mkdir()
            (log / "meta.properties").write_text("new")
        raise ProcessLookupError if formatted else PermissionError

    with held(folder):
        record(folder, process.pid, "ready")
        (victim,) = victims(tmp_path, "kafka")
        monkeypatch.setattr(os, "kill", refuse)
        with pytest.raises(RetryLater if formatted else StopProcess):
            victim.wipe_and_kill()
        monkeypatch.undo()
    assert [file.name for file in log.parent.iterdir()] == ["log"]
    assert (log / "meta.properties").read_text() == ("new" if formatted else "old")


def test_help_of_every_kill_is_there() -> None:
    for words in (["--help"], ["worker", "--help"], ["service", "--help"], ["kafka", "--help"]):
        result = penstock(*words)
        assert result.exit_code == exit_codes.OK
    assert "--wipe" in result.stdout


def test_errors_are_json_with_json() -> None:
    error = json.loads(penstock("worker", "--json").stderr)["error"]
    assert error["exit_code"] == exit_codes.RETRY_LATER


def test_what_keeps_the_job_from_being_asked_for_is_told() -> None:
    class Gateway:
        def submit(self, _key: str, **_request: Any) -> None:
            raise Refused(429, {"title": "too many"})

    refused: list[str] = []
    _ask(cast(Client, Gateway()), "key", 1.0, refused)
    assert refused == ["too many (HTTP 429)"]
    told = Story("kafka", "kafka-0", [], "key").end(1.0, why=refused[0])
    assert told.text.endswith("too many (HTTP 429)")
