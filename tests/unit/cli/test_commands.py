"""`penstock ls`, `show`, `logs`, `cancel`, `rerun` against a gateway that answers what it is told."""

from __future__ import annotations

import base64
import json
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from tests.unit.client.fake_gateway import (
    AGAIN,
    AT,
    PIPELINE,
    FakeGateway,
    job,
    job_id,
    life,
    lines,
    pipeline,
    status,
)

from penstock import cli
from penstock.cli import exit_codes
from penstock.cli.words import clock_time, timestamp
from penstock.testing.clock import ManualClock

NOW = 1_767_323_165.0  # two minutes after fake_gateway.AT
LATER = "2026-01-02T03:04:06.000000Z"
RAN = f"{clock_time(timestamp(AT))} to {clock_time(timestamp(LATER))}"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ls", "show", "explain"):
        monkeypatch.setattr(f"penstock.cli.{module}.SystemClock", lambda: ManualClock(NOW))


def penstock(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


def attempt(number: int, state: str, **more: Any) -> dict[str, Any]:
    known = {"attempt": number, "state": state, "reason": None, "exit_code": None, "duration_ms": 400}
    times = {"assigned_at": AT, "started_at": AT, "ended_at": LATER}
    return {**known, **times, "worker": "session", "worker_name": "vm/runner-0", "last_seq": 1, **more}


@pytest.fixture
def finished(gateway: FakeGateway) -> FakeGateway:
    """A pipeline that failed, in two stages."""
    gateway.pipelines[PIPELINE] = pipeline(
        "FAILED", counts={"SUCCESS": 1, "FAILED": 1, "SKIPPED": 1}, git={"branch": "main", "sha": "a" * 40}
    )
    tries = [
        attempt(1, "RETRYING", reason="worker-lost"),
        attempt(2, "FAILED", reason="exit-code", exit_code=3),
    ]
    broken = {"attempt": 2, "reason": "exit-code", "exit_code": 3, "attempts": tries}
    gateway.jobs[PIPELINE] = [
        job(1, "compile", stage="build"),
        job(2, "a/b", "FAILED", stage="test", level=1, needs=["compile"], **broken),
        job(
            3,
            "never",
            "SKIPPED",
            stage="test",
            level=1,
            attempt=0,
            reason="dependency-failed",
            duration_ms=None,
        )
        | {"started_at": None},
    ]
    return gateway


def test_ls_shows_a_row_a_pipeline(finished: FakeGateway) -> None:
    result = penstock("ls")
    assert result.exit_code == exit_codes.OK
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["pipeline", "name", "state", "age", "took", "jobs", "branch"],
        [PIPELINE, "demo", "FAILED", "2", "min", "4.0", "s", "1", "✓", "1", "✗", "1", "−", "main"],
    ]


def test_ls_passes_its_filters_on(gateway: FakeGateway) -> None:
    result = penstock("ls", "--state", "failed", "--branch", "main", "--repo", "r", "--limit", "3")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "")
    assert gateway.calls[0][1] == "/v1/pipelines?state=FAILED&branch=main&repo=r&limit=3"
    assert penstock("ls", "--state", "odd").exit_code == exit_codes.USAGE


def test_show_tells_the_whole_story(finished: FakeGateway) -> None:
    result = penstock("show", "last")
    assert result.exit_code == exit_codes.OK
    assert result.stdout.splitlines() == [
        "FAILED demo",
        f"  {PIPELINE}, created 2 min ago, took 4.0 s",
        "  main aaaaaaaaaaaa",
        "  1 SUCCESS, 1 FAILED, 1 SKIPPED",
        "build",
        "└─ ✓ compile SUCCESS 1.2 s",
        "test",
        "├─ ✗ a/b     FAILED 1.2 s exit code 3",
        f"│     attempt 1 RETRYING 0.4 s its runner was lost, {RAN}, on vm/runner-0 (session)",
        f"│     attempt 2 FAILED 0.4 s exit code 3, {RAN}, on vm/runner-0 (session)",
        "└─ − never   SKIPPED a job that it needs did not succeed",
    ]


def test_show_tells_what_came_too_late(finished: FakeGateway) -> None:
    lost = attempt(1, "FAILED", reason="worker-lost", late="ended, success, exit 0", late_at=LATER)
    finished.jobs[PIPELINE] = [job(1, "compile", "FAILED", attempts=[lost])]
    lines = penstock("show", "last").stdout.splitlines()
    assert (
        lines[-1] == f"        refused, for it came at {clock_time(timestamp(LATER))}: ended, success, exit 0"
    )


def test_show_has_every_attempt_if_asked_and_the_jobs_of_a_rerun(finished: FakeGateway) -> None:
    gone = attempt(1, "QUEUED", reason="start-timeout", started_at=None, worker_name=None, duration_ms=None)
    living = attempt(2, "RUNNING", ended_at=None, duration_ms=None)
    finished.jobs[PIPELINE] = [
        job(
            1,
            "compile",
            attempt=0,
            reason="reused",
            source_job_id=job_id(9),
            attempts=[attempt(1, "SUCCESS")],
        ),
        job(2, "test", "RUNNING", attempt=2, duration_ms=None, attempts=[gone, living]),
    ]
    finished.pipelines[PIPELINE] = pipeline("RUNNING", rerun_of=AGAIN)
    began = clock_time(timestamp(AT))
    few = [
        f"  rerun of {AGAIN}",
        "├─ ✓ compile SUCCESS 1.2 s taken over from an earlier run",
        "└─ ● test    RUNNING 2 min 0 s",
        f"      attempt 1 QUEUED was not started in time, granted {began}, never started, on (session)",
        f"      attempt 2 RUNNING, {began} to now, on vm/runner-0 (session)",
    ]
    shown = penstock("show", "last").stdout.splitlines()
    assert shown[2:] == few
    every = penstock("show", "last", "--attempts").stdout.splitlines()[2:]
    assert every == [*few[:2], f"│     attempt 1 SUCCESS 0.4 s, {RAN}, on vm/runner-0 (session)", *few[2:]]


def test_show_tells_why_a_job_waits(finished: FakeGateway) -> None:
    why = {"reason": "lock", "text": "lock db (exclusive) is held by job 7"}
    finished.jobs[PIPELINE] = [
        job(1, "deploy", "QUEUED", duration_ms=None, waiting=why) | {"started_at": None}
    ]
    assert penstock("show", "last").stdout.splitlines()[-1] == (
        "└─ ○ deploy QUEUED waits: lock db (exclusive) is held by job 7"
    )


def test_explain_says_why(finished: FakeGateway) -> None:
    found = {
        "job_id": job_id(2), "pipeline_id": PIPELINE, "name": "a/b", "state": "QUEUED", "pool": "gpu",
        "lane": "normal", "reason": "no-runners", "text": "pool gpu has no runner that takes jobs",
        "detail": {"pool": "gpu"}, "queued_at": AT, "at": AT,
    }  # fmt: skip
    finished.explanations[job_id(2)] = found
    for words in ("last/a/b", job_id(2)):
        result = penstock("explain", words)
        assert (result.exit_code, result.stdout.splitlines()) == (exit_codes.OK, [
            "a/b QUEUED (pool gpu, lane normal, for 2 min 0 s)", "  pool gpu has no runner that takes jobs",
        ])  # fmt: skip
    assert json.loads(penstock("explain", "last/a/b", "--json").stdout) == found
    finished.explanations[job_id(2)] = {**found, "state": "FAILED", "text": "it ended"}
    assert penstock("explain", "last/a/b").stdout == "a/b FAILED (pool gpu, lane normal)\n  it ended\n"


def test_explain_names_the_nearest_job(finished: FakeGateway) -> None:
    result = penstock("explain", "last/a/c")
    assert result.exit_code == exit_codes.USAGE
    assert "did you mean 'a/b'?" in result.stderr


def test_promote_raises_a_lane(finished: FakeGateway) -> None:
    finished.jobs[PIPELINE] = [job(1, "test", "QUEUED", lane="normal"), job(2, "done")]
    result = penstock("promote", "last/test")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "it is in lane high now\n")
    assert finished.calls[-1] == ("POST", f"/v1/jobs/{job_id(1)}/promote", '{"lane":"high"}')
    finished.jobs[PIPELINE][0]["lane"] = "critical"
    assert (
        penstock("promote", "last/test", "--lane", "critical").stdout == "it was in lane critical already\n"
    )
    assert json.loads(penstock("promote", "last/test", "--json").stdout)["promoted"] is True
    ended = penstock("promote", "last/done")
    assert ended.exit_code == exit_codes.USAGE
    assert "the job has ended already" in ended.stderr
    assert penstock("promote", "last/test", "--lane", "normal").exit_code == exit_codes.USAGE


def test_show_tells_why_a_pipeline_was_rejected(gateway: FakeGateway) -> None:
    fault = {"message": "no such job", "path": "jobs.a", "line": 3, "column": 5, "hint": "b?"}
    gateway.pipelines[PIPELINE] = pipeline("REJECTED", reason="invalid", errors=[fault])
    result = penstock("show", PIPELINE)
    assert "REJECTED demo the request is not valid" in result.stdout
    assert "error: line 3, column 5: jobs.a: no such job (b?)" in result.stdout


def test_show_as_json_is_what_the_gateway_says(finished: FakeGateway) -> None:
    shown = json.loads(penstock("show", "last", "--json").stdout)
    assert shown == {**finished.pipelines[PIPELINE], "jobs": finished.jobs[PIPELINE]}


def test_a_log_is_text_without_control_sequences(finished: FakeGateway) -> None:
    finished.write(2, *lines("\x1b[31mred\x1b[0m\x1b[2J", "10%\r20%"), attempt=2)
    result = CliRunner().invoke(cli.main, ["logs", "last/a/b"], color=True)
    assert result.stdout == "\x1b[31mred\x1b[0m\n10%\n20%\n"
    assert click.unstyle(result.stdout).startswith("red")


def test_parts_of_a_line_are_one_line(finished: FakeGateway) -> None:
    texts = lines("Password", ": ", "ok")
    parts = [{**texts[0], "part": True}, texts[1], {**texts[2], "part": True}, texts[3]]
    finished.write(2, *parts, attempt=2)
    assert penstock("logs", "last/a/b").stdout == "Password: \nok\n"


def test_a_raw_log_is_the_bytes_that_came(finished: FakeGateway) -> None:
    data = b"\xff\x1b[2J\r"
    odd = {"seq": 1, "ts": 0, "stream": "stdout", "text": "?", "raw": base64.b64encode(data).decode()}
    last = {"seq": 2, "ts": 0, "stream": "stderr", "text": "no end of line", "part": True}
    finished.write(2, odd, last, {"end": True, "last_seq": 2}, attempt=2)
    assert penstock("logs", "last/a/b", "--raw").stdout_bytes == data + b"\nno end of line"


def test_a_log_as_json_has_its_end(finished: FakeGateway) -> None:
    finished.write(2, *lines("x"), attempt=2)
    records = [json.loads(line) for line in penstock("logs", job_id(2), "--json").stdout.splitlines()]
    assert records == lines("x")


def test_an_earlier_attempt_can_be_asked_for(finished: FakeGateway) -> None:
    finished.write(2, *lines("first try"), attempt=1)
    assert penstock("logs", "last/a/b", "--attempt", "1").stdout == "first try\n"
    result = penstock("logs", "last/a/b", "--attempt", "3")
    assert result.exit_code == exit_codes.USAGE
    assert "a/b has no attempt 3 (it has 2)" in result.stderr


def test_an_incomplete_log_is_told_on_stderr(finished: FakeGateway) -> None:
    finished.write(
        2, lines("x")[0], {"end": True, "last_seq": 1, "incomplete": True, "missing": 7}, attempt=2
    )
    result = penstock("logs", "last/a/b")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "x\n")
    assert result.stderr == "the log is not complete: 7 lines are lost\n"


def test_a_job_that_never_ran_has_no_log(finished: FakeGateway) -> None:
    result = penstock("logs", "last/never", "-f")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "")
    assert "never is SKIPPED (a job that it needs did not succeed): it has no log" in result.stderr


def test_a_followed_log_waits_for_the_job_to_begin(gateway: FakeGateway) -> None:
    gateway.pipelines[PIPELINE] = pipeline()
    gateway.jobs[PIPELINE] = [job(1, "late", "QUEUED", attempt=0)]
    gateway.emit(status(1, "PENDING"), *life(1, "late")[:3])
    gateway.write(1, *lines("here"))
    gateway.cuts.extend((2, 99, 0))
    result = penstock("logs", "last/late", "-f")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "here\n")
    assert "waiting until it begins" in result.stderr


@pytest.mark.parametrize("target", [PIPELINE, "last", job_id(1), "last/a", f"{PIPELINE}/a"])
def test_a_cancel_prints_the_state(target: str, gateway: FakeGateway) -> None:
    gateway.pipelines[PIPELINE] = pipeline()
    gateway.jobs[PIPELINE] = [job(1, "a", "RUNNING")]

    def cancel() -> None:
        gateway.pipelines[PIPELINE] = pipeline("CANCELLING")
        gateway.jobs[PIPELINE] = [job(1, "a", "CANCELLING")]

    gateway.on_cancel = cancel
    result = penstock("cancel", target, "--reason", "wrong branch")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "CANCELLING\n")
    (posted,) = [call for call in gateway.calls if call[0] == "POST"]
    assert json.loads(posted[2]) == {"reason": "wrong branch"}


def test_a_cancel_can_wait_until_nothing_lives(gateway: FakeGateway) -> None:
    gateway.pipelines[PIPELINE] = pipeline()
    gateway.emit(status(1, "PENDING"), status(2, "CANCELLED"))
    assert penstock("cancel", "last", "--wait").stdout == "CANCELLED\n"


def test_to_cancel_what_has_ended_is_no_error(finished: FakeGateway) -> None:
    result = penstock("cancel", "last")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "already FAILED\n")
    shown = json.loads(penstock("cancel", "last/compile", "--json").stdout)
    assert shown == {"pipeline_id": PIPELINE, "job_id": job_id(1), "state": "SUCCESS"}


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ((), {}),
        (("--failed",), {"failed": True}),
        (("--from", "compile"), {"from": job_id(1)}),
        (("--from", "a/b"), {"from": job_id(2)}),
        (("--from", "last/a/b"), {"from": job_id(2)}),
        (("--from", f"{PIPELINE}/compile"), {"from": job_id(1)}),
        (("--from", job_id(3)), {"from": job_id(3)}),
    ],
)
def test_a_rerun_prints_the_new_id(
    words: tuple[str, ...], sent: dict[str, Any], finished: FakeGateway
) -> None:
    result = penstock("rerun", "last", *words)
    assert (result.exit_code, result.stdout) == (exit_codes.OK, f"{AGAIN}\n")
    (posted,) = [call for call in finished.calls if call[0] == "POST"]
    assert (posted[1], json.loads(posted[2])) == (f"/v1/pipelines/{PIPELINE}/rerun", sent)


def test_a_rerun_as_json_is_the_receipt(finished: FakeGateway) -> None:
    told = json.loads(penstock("rerun", PIPELINE, "--key", "k", "--json").stdout)
    assert (told["pipeline_id"], told["rerun_of"], told["request_id"]) == (AGAIN, PIPELINE, "k")


def test_a_rerun_that_cannot_be_is_told(finished: FakeGateway) -> None:
    result = penstock("rerun", "last", "--failed", "--from", "compile")
    assert (result.exit_code, "exclude each other" in result.stderr) == (exit_codes.USAGE, True)
    result = penstock("rerun", "last", "--from", "compil")
    assert (result.exit_code, "did you mean 'compile'?" in result.stderr) == (exit_codes.USAGE, True)
    finished.pipelines[PIPELINE] = pipeline("RUNNING")
    result = penstock("rerun", "last")
    assert (result.exit_code, "the pipeline is RUNNING" in result.stderr) == (exit_codes.USAGE, True)
    finished.pipelines[AGAIN] = pipeline("FAILED", pipeline_id=AGAIN)
    result = penstock("rerun", AGAIN, "--from", f"{PIPELINE}/compile")
    assert (result.exit_code, f"belongs to pipeline {PIPELINE}" in result.stderr) == (exit_codes.USAGE, True)


def test_the_log_of_a_job_that_was_taken_over(finished: FakeGateway) -> None:
    finished.jobs[PIPELINE] = [
        job(
            1,
            "compile",
            attempt=0,
            reason="reused",
            source_job_id=job_id(9),
            attempts=[attempt(2, "SUCCESS")],
        )
    ]
    finished.write(1, *lines("as it was"), attempt=2)
    assert penstock("logs", "last/compile").stdout == "as it was\n"
    assert "has no attempt 3 (it has 2)" in penstock("logs", "last/compile", "--attempt", "3").stderr


def test_what_does_not_exist_is_told(gateway: FakeGateway) -> None:
    result = penstock("cancel", job_id(9))
    assert result.exit_code == exit_codes.USAGE
    assert "there is no such job" in result.stderr
