"""The command table, and errors as sentences with exit codes."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from penstock import cli
from penstock.cli import exit_codes
from penstock.core.errors import Problem, RejectInput, RetryLater, StopProcess
from penstock.local.folder import AlreadyRunningError

TWO_PROBLEMS = RejectInput(
    [Problem("no such job", path="jobs.b", line=3, column=5, hint="did you mean a?"), Problem("x")]
)


def failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def fails(as_json: bool) -> None:
        raise error

    monkeypatch.setitem(cli.COMMANDS, "fails", ("tests:fails", "Fails."))
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: fails)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_in_the_table_exists(name: str) -> None:
    module, attribute = cli.COMMANDS[name][0].split(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


def test_help_lists_commands_and_exit_codes() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == exit_codes.OK
    assert all(name in result.stdout for name in cli.COMMANDS)
    assert "130  interrupted" in result.stdout


def test_a_misspelt_command_gets_a_suggestion() -> None:
    result = CliRunner().invoke(cli.main, ["topcs"])
    assert result.exit_code == exit_codes.USAGE
    assert "Did you mean 'topics'?" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TWO_PROBLEMS, exit_codes.USAGE),
        (RetryLater("kafka is away"), exit_codes.RETRY_LATER),
        (StopProcess("PENSTOCK_X must be set"), exit_codes.CONFIGURATION),
        (AlreadyRunningError("a stack runs"), exit_codes.ALREADY_RUNNING),
        (KeyError("bug"), exit_codes.INTERNAL),
        (KeyboardInterrupt(), exit_codes.INTERRUPTED),
    ],
)
def test_each_error_has_its_code_and_no_traceback(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PENSTOCK_DEBUG", raising=False)
    failing(error, monkeypatch)
    result = CliRunner().invoke(cli.main, ["fails"])
    assert result.exit_code == code
    assert "Traceback" not in result.output


def test_problems_are_listed_with_place_and_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(TWO_PROBLEMS, monkeypatch)
    result = CliRunner().invoke(cli.main, ["fails"])
    assert "2 problems:\n  line 3, column 5: jobs.b: no such job (did you mean a?)\n  x" in result.stderr


def test_with_json_errors_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(TWO_PROBLEMS, monkeypatch)
    result = CliRunner().invoke(cli.main, ["fails", "--json"])
    error = json.loads(result.stderr)["error"]
    assert error["kind"] == "RejectInput"
    assert error["exit_code"] == exit_codes.USAGE
    assert error["problems"][0]["line"] == 3


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DEBUG", "1")
    failing(KeyError("bug"), monkeypatch)
    assert isinstance(CliRunner().invoke(cli.main, ["fails"]).exception, KeyError)


def test_an_unknown_service_lists_the_known_ones() -> None:
    result = CliRunner().invoke(cli.main, ["service", "gatewy"])
    assert result.exit_code == exit_codes.USAGE
    assert "did you mean gateway?" in result.stderr
    assert "runner" in result.stderr


def test_an_argument_that_is_not_utf8_is_the_users_to_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "pst_token")
    file = tmp_path / "good.yml"
    file.write_text("jobs: {a: {run: 'true'}}")
    words = ["run", str(file), "--url", "http://127.0.0.1:9", "--input", "k=caf\udce9"]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == exit_codes.USAGE, result.output
    assert r"the argument 'k=caf\udce9' is not UTF-8" in result.stderr


def test_a_file_may_have_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.yml")
    result = CliRunner().invoke(cli.main, ["lint", "--json", name])
    assert result.exit_code == exit_codes.USAGE
    assert r"caf\udce9.yml" in json.loads(result.stderr)["error"]["message"]
    Path(name).write_text("jobs: {a: {run: 'true'}}")
    result = CliRunner().invoke(cli.main, ["lint", "--json", name])
    assert result.exit_code == exit_codes.OK
    assert json.loads(result.stdout)["files"][0]["file"].endswith(r"/caf\udce9.yml")
