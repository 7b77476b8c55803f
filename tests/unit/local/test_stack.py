"""`.penstock/`: found from below, private, described for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.core.errors import RetryLater, StopProcess
from penstock.local import folder as folders
from penstock.local.folder import StackFolder
from penstock.local.stack import (
    GatewayAccess,
    KafkaAccess,
    PostgresAccess,
    S3Access,
    Stack,
    StackComponent,
    read_stack,
    write_stack,
)

STACK = Stack(
    kafka=KafkaAccess("127.0.0.1:1"),
    postgres=PostgresAccess("postgresql://u:p@127.0.0.1:2/db"),
    s3=S3Access("http://127.0.0.1:3", "key", "secret", "penstock"),
    gateway=GatewayAccess("http://127.0.0.1:4"),
    token="t",
    pids={"kafka": 7, "supervisor": 8},
    components=[StackComponent("kafka", 0, 7, 1, "/log")],
)


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    made = StackFolder(tmp_path / "päth with blank" / folders.NAME)
    made.create()
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_stack_json_is_private_and_has_the_public_shape(folder: StackFolder) -> None:
    write_stack(folder, STACK)
    assert mode(folder.stack) == 0o600
    shape = json.loads(folder.stack.read_text())
    assert shape["schema"] == 1
    assert shape["kafka"]["bootstrap"] == "127.0.0.1:1"
    assert set(shape["s3"]) == {"endpoint", "access_key", "secret_key", "bucket"}
    assert set(shape["components"][0]) == {"name", "replica", "pid", "port", "log"}
    assert shape["pids"] == {"kafka": 7, "supervisor": 8}


def test_a_running_stack_is_found_from_below(folder: StackFolder) -> None:
    write_stack(folder, STACK)
    below = folder.path.parent / "a" / "b"
    below.mkdir(parents=True)
    with folders.held(folder):
        assert read_stack(below) == STACK
    with pytest.raises(RetryLater, match="not running"):
        read_stack(below)


def test_none_and_starting_are_told_apart(folder: StackFolder, tmp_path: Path) -> None:
    with pytest.raises(RetryLater, match="penstock up"):
        read_stack(tmp_path)
    with folders.held(folder), pytest.raises(RetryLater, match="still starting"):
        read_stack(folder.path.parent)


def test_one_supervisor_a_folder(folder: StackFolder) -> None:
    assert not folders.is_held(folder)
    with folders.held(folder), pytest.raises(folders.AlreadyRunningError), folders.held(folder):
        pass
    assert not folders.is_held(folder)


def test_credentials_are_random_private_and_stay(folder: StackFolder, tmp_path: Path) -> None:
    other = StackFolder(tmp_path / "other")
    other.create()
    first = folders.credentials(folder)
    assert folders.credentials(folder) == first
    assert folders.credentials(other) != first
    assert mode(folder.path / "credentials.json") == 0o600
    assert len(first.token) >= 32


def test_broken_credentials_say_what_is_lost(folder: StackFolder) -> None:
    (folder.path / "credentials.json").write_text("{")
    with pytest.raises(StopProcess, match="cannot be opened"):
        folders.credentials(folder)


def test_others_may_pass_but_not_look(folder: StackFolder) -> None:
    assert mode(folder.path) == 0o711
    assert mode(folder.logs) == mode(folder.config) == 0o700


def test_a_folder_that_cannot_be_made_is_a_sentence() -> None:
    with pytest.raises(StopProcess, match="a folder that you may write"):
        StackFolder(Path("/dev/null/.penstock")).create()


def test_environment_and_settings_agree() -> None:
    environment = STACK.environment()
    assert environment["PENSTOCK_KAFKA_BOOTSTRAP"] == STACK.kafka_settings().kafka_bootstrap
    assert environment["PENSTOCK_S3_SECRET_KEY"] == STACK.object_settings().s3_secret_key
    assert environment["PENSTOCK_POSTGRES_DSN"] == STACK.postgres_settings().postgres_dsn
