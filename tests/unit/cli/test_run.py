"""`penstock run` and `submit` against a gateway that answers what it is told."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.client.fake_gateway import PIPELINE, FakeGateway, job, job_id, life, lines, pipeline, status

from penstock import cli
from penstock.cli import exit_codes

GOOD = "name: demo\njobs:\n  a: {run: echo a}\n  b: {needs: a, run: echo b}\n"


@pytest.fixture(autouse=True)
def files() -> None:
    Path("good.yml").write_text(GOOD)
    Path("bad.yml").write_text("jobs:\n  a:\n    needs: [x]\n    run: y\n")


def penstock(*words: str, **more: str) -> Result:
    return CliRunner().invoke(cli.main, list(words), **more)  # type: ignore[arg-type]


def succeeds(gateway: FakeGateway, end: str = "SUCCESS") -> None:
    gateway.jobs[PIPELINE] = [job(1, "a"), job(2, "b", level=1, needs=["a"])]
    failing = {"reason": "exit-code", "exit_code": 3} if end == "FAILED" else {}
    gateway.emit(status(1, "PENDING"), status(2, "RUNNING"))
    gateway.emit(*life(1, "a"), *life(2, "b", end, **failing), status(3, end))
    gateway.write(1, *lines("first", "\x1b[2Jsecond"))
    gateway.write(2, *lines("third"))


def test_a_run_is_followed_to_its_end(gateway: FakeGateway) -> None:
    succeeds(gateway)
    result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.OK, result.output
    told = [line.split(" ", 1)[-1] for line in result.stdout.splitlines() if line[2:3] == ":"]
    assert told[0] == f"demo PENDING {PIPELINE}"
    assert "a RUNNING" in told
    assert "b SUCCESS (1.2 s)" in told
    assert {"a | first", "a | second", "b | third"} <= set(result.stdout.splitlines())
    assert result.stdout.splitlines()[-1] == f"demo: 2 SUCCESS; {PIPELINE}"


@pytest.mark.parametrize("end", ["FAILED", "CANCELLED"])
def test_any_other_end_is_exit_code_1(end: str, gateway: FakeGateway) -> None:
    succeeds(gateway, end)
    result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.PIPELINE_FAILED
    if end == "FAILED":
        assert "b FAILED exit code 3 (1.2 s)" in result.stdout


def test_what_is_asked_for_is_sent(gateway: FakeGateway) -> None:
    succeeds(gateway)
    words = ("--input", "a=b=c", "--input", "empty=", "--tenant", "default", "--priority", "7", "--key", "k")
    assert penstock("run", "good.yml", *words).exit_code == exit_codes.OK
    body = json.loads(gateway.calls[0][2])
    assert body == {
        "definition_yaml": GOOD,
        "inputs": {"a": "b=c", "empty": ""},
        "tenant": "default",
        "priority": 7,
        "trigger": "manual",
    }


def test_a_file_with_problems_is_never_sent(gateway: FakeGateway) -> None:
    result = penstock("run", "bad.yml")
    assert result.exit_code == exit_codes.USAGE
    assert gateway.calls == []
    assert 'bad.yml:3:13: error: jobs.a.needs[0]: there is no job "x"' in result.stderr
    assert "  3 |     needs: [x]\n    |             ^" in result.stderr


def test_problems_that_only_the_gateway_finds_are_shown_the_same_way(gateway: FakeGateway) -> None:
    fault = {"message": "no such pool", "path": "jobs.a.runs-on", "line": 3, "column": 6}
    gateway.answers.append((422, {"detail": "x", "errors": [fault]}))
    result = penstock("submit", "good.yml")
    assert result.exit_code == exit_codes.USAGE
    assert "good.yml:3:6: error: jobs.a.runs-on: no such pool\n  3 |   a: {run: echo a}\n" in result.stderr


def test_with_json_problems_are_json(gateway: FakeGateway) -> None:
    result = penstock("run", "bad.yml", "--json")
    assert result.exit_code == exit_codes.USAGE
    (problem,) = json.loads(result.stderr)["error"]["problems"]
    assert (problem["line"], problem["column"]) == (3, 13)


def test_a_pipeline_that_is_rejected_later_is_exit_code_2(gateway: FakeGateway) -> None:
    fault = {"message": "unknown tenant", "path": "tenant", "line": 1, "column": 1}
    gateway.emit(status(1, "REJECTED", reason="invalid", errors=[fault]))
    result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.USAGE
    assert "good.yml:1:1: error: tenant: unknown tenant" in result.stderr


def test_a_receipt_without_an_id_is_waited_for(gateway: FakeGateway) -> None:
    gateway.answers.append((202, {"request_id": "request-1", "state": "RECEIVED", "url": "/"}))
    succeeds(gateway)
    result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.OK
    assert gateway.calls[1][1] == "/v1/requests/request-1"


def test_json_is_one_object_a_line(gateway: FakeGateway) -> None:
    succeeds(gateway)
    result = penstock("run", "good.yml", "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [
        record["version"] for record in records if record.get("job_id") == job_id(1) and "version" in record
    ]
    assert {"job": "a", "job_id": job_id(1), "attempt": 1, "end": True, "last_seq": 2} in records


def test_without_logs_none_are_read(gateway: FakeGateway) -> None:
    succeeds(gateway)
    assert penstock("run", "good.yml", "--no-logs").exit_code == exit_codes.OK
    assert not [path for _, path, _ in gateway.calls if "/logs" in path]


def test_a_broken_stream_is_taken_up(gateway: FakeGateway) -> None:
    succeeds(gateway)
    gateway.cuts.extend((3, 1))
    result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.OK
    assert result.stdout.count("a | first") == 1
    assert result.stdout.count("a SUCCESS") == 1


def test_no_gateway_is_told(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_URL")
    result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.RETRY_LATER
    assert "penstock up" in result.stderr
    assert "PENSTOCK_URL" in result.stderr


def test_a_token_is_never_guessed(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_TOKEN")
    result = penstock("submit", "good.yml")
    assert result.exit_code == exit_codes.CONFIGURATION
    assert "PENSTOCK_TOKEN" in result.stderr


@pytest.mark.parametrize("words", [("--input", "x"), ("--input", "=x")])
def test_an_input_is_a_pair(words: tuple[str, str], gateway: FakeGateway) -> None:
    assert penstock("submit", "good.yml", *words).exit_code == exit_codes.USAGE


def test_submit_prints_the_id_alone(gateway: FakeGateway) -> None:
    result = penstock("submit", "good.yml")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, PIPELINE + "\n")
    assert json.loads(penstock("submit", "good.yml", "--json").stdout)["state"] == "PENDING"


def test_a_definition_may_come_from_standard_input_or_as_json(gateway: FakeGateway) -> None:
    assert penstock("submit", "-", input=GOOD).exit_code == exit_codes.OK
    Path("good.json").write_text('{"jobs": {"a": {"run": "x"}}}')
    assert penstock("submit", "good.json").exit_code == exit_codes.OK
    assert json.loads(gateway.calls[1][2])["definition"] == {"jobs": {"a": {"run": "x"}}}


def test_git_needs_a_repository(gateway: FakeGateway) -> None:
    result = penstock("submit", "good.yml", "--git")
    assert result.exit_code == exit_codes.USAGE
    assert "git repository" in result.stderr


@contextmanager
def ctrl_c_once(following: threading.Event) -> Iterator[None]:
    """Then the main thread only waits; in the middle of a call it would leave a socket to the collector."""

    def body() -> None:
        following.wait(10)
        signal.raise_signal(signal.SIGINT)

    # Whoever runs the tests in the background of a shell hands down that it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=body)
    thread.start()
    yield
    thread.join()
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_cancels_where_nobody_can_be_asked(gateway: FakeGateway) -> None:
    gateway.emit(status(1, "PENDING"), *life(1, "a")[:3])

    def cancelled() -> None:
        about = {"job_id": job_id(1), "name": "a", "attempt": 1, "reason": "cancelled"}
        gateway.emit(status(4, "CANCELLED", **about), status(2, "CANCELLED"))
        gateway.write(1, *lines("last words"))

    gateway.pipelines[PIPELINE] = pipeline()
    gateway.on_cancel = cancelled
    with ctrl_c_once(gateway.tailing):
        result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.PIPELINE_FAILED, result.output
    assert "a | last words" in result.stdout
    assert ("POST", f"/v1/pipelines/{PIPELINE}/cancel", '{"reason":"Ctrl-C"}') in gateway.calls


def test_a_second_ctrl_c_leaves_at_once(gateway: FakeGateway) -> None:
    gateway.emit(status(1, "PENDING"))
    gateway.pipelines[PIPELINE] = pipeline()
    gateway.on_cancel = lambda: signal.raise_signal(signal.SIGINT)
    with ctrl_c_once(gateway.streaming):
        result = penstock("run", "good.yml")
    assert result.exit_code == exit_codes.INTERRUPTED
    assert f"penstock show {PIPELINE}" in result.stderr
