"""The three servers as a user starts them: described, private, alone in their folder, gone at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli import exit_codes
from penstock.kafka.admin import diff_topics
from penstock.kafka.probe import probe as probe_kafka
from penstock.local.folder import StackFolder, is_held
from penstock.local.process import Child, is_alive, started
from penstock.local.stack import Stack, read_stack
from penstock.objects.s3 import probe as probe_s3
from penstock.store.database import Database
from penstock.store.migrate import pending
from penstock.store.tenants import identify

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PENSTOCK = (sys.executable, "-m", "penstock")


def penstock(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*PENSTOCK, *words), cwd=folder, capture_output=True, text=True, check=False)


def children(stack: Stack) -> list[Child]:
    pids = [component.pid for component in stack.components]
    return [Child(pid, started(pid)) for pid in [*pids, stack.pids["supervisor"]]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A path with a blank and a letter outside ASCII."""
    place = tmp_path_factory.mktemp("pen stöck")
    yield place
    penstock(place, "down")


@pytest.fixture
def folder(place: Path) -> Path:
    """The folder of a stack that runs: tests come in any order, and one of them stops it."""
    if not is_held(StackFolder(place / ".penstock")):
        begun = penstock(place, "up", "--servers-only", "--detach")
        assert begun.returncode == exit_codes.OK, begun.stdout + begun.stderr
    return place


def test_all_three_work_and_are_prepared(folder: Path) -> None:
    stack = read_stack(folder)
    probe_kafka(stack.kafka_settings(), 10.0)
    probe_s3(stack.object_settings(), 10.0)
    assert diff_topics(stack.kafka_settings()) == []
    assert pending(stack.postgres.dsn) == []
    database = Database(stack.postgres.dsn, "test")
    try:
        identity = identify(database, stack.token)
    finally:
        database.close()
    assert identity is not None
    assert identity.tenant == "default"


def test_secrets_are_for_the_owner_only(folder: Path) -> None:
    paths = StackFolder(folder / ".penstock")
    private = [paths.stack, paths.path / "credentials.json", paths.config / "s3proxy.properties"]
    assert [path.stat().st_mode & 0o777 for path in private] == [0o600] * 3
    wrong = read_stack(folder).postgres.dsn.replace("penstock:", "penstock:x", 1)
    assert "password authentication failed" in penstock_migrate_error(folder, wrong)


def penstock_migrate_error(folder: Path, dsn: str) -> str:
    ran = subprocess.run(
        (*PENSTOCK, "migrate", "--check"),
        cwd=folder,
        env={**os.environ, "PENSTOCK_POSTGRES_DSN": dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == exit_codes.RETRY_LATER
    return ran.stderr


def test_a_second_up_says_how_to_reach_the_first(folder: Path) -> None:
    second = penstock(folder, "up")
    assert second.returncode == exit_codes.ALREADY_RUNNING
    stack = read_stack(folder)
    assert stack.kafka.bootstrap in second.stderr
    assert str(stack.pids["supervisor"]) in second.stderr


def test_ps_shows_every_process(folder: Path) -> None:
    shown = json.loads(penstock(folder, "ps", "--json").stdout)["components"]
    assert {row["name"] for row in shown} == {"supervisor", "kafka", "postgres", "s3"}
    assert all(row["state"] == "ready" and row["pid"] for row in shown)
    if sys.platform == "linux":
        assert 0 < sum(row["rss"] for row in shown) < 1.5e9


def test_doctor_is_content(folder: Path) -> None:
    examined = penstock(folder, "doctor", "--json")
    findings = {one["check"]: one["level"] for one in json.loads(examined.stdout)["findings"]}
    assert {"disk", "ports", "clock", "xattrs", "versions", "topics", "migrations"} <= set(findings)
    assert findings["topics"] == findings["migrations"] == findings["xattrs"] == "ok"


def test_a_server_that_dies_comes_back(folder: Path) -> None:
    stack = read_stack(folder)
    old = Child(stack.pids["s3"], started(stack.pids["s3"]))
    os.kill(old.pid, signal.SIGKILL)
    while (new := read_stack(folder)).pids["s3"] in (0, old.pid):
        time.sleep(0.05)
    probe_s3(new.object_settings(), 10.0)
    assert not is_alive(old)
    (row,) = (
        r for r in json.loads(penstock(folder, "ps", "--json").stdout)["components"] if r["name"] == "s3"
    )
    assert row["restarts"] == 1


def test_down_leaves_nothing_and_the_data_stay(folder: Path) -> None:
    alive = children(read_stack(folder))
    assert penstock(folder, "down").returncode == exit_codes.OK
    assert not any(is_alive(child) for child in alive)
    assert not (folder / ".penstock" / "stack.json").exists()
    assert penstock(folder, "ps").returncode == exit_codes.RETRY_LATER
    assert "nothing runs here" in penstock(folder, "down").stdout


def test_nothing_outlives_a_supervisor_that_is_killed(folder: Path) -> None:
    alive = children(read_stack(folder))
    os.kill(alive[-1].pid, signal.SIGKILL)
    if sys.platform != "linux":
        penstock(folder, "down")
    while any(is_alive(child) for child in alive):
        time.sleep(0.05)
    assert penstock(folder, "ps").returncode == exit_codes.RETRY_LATER
