"""Which gateway a command talks to, and with which token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.gateway import connect
from penstock.client.wire import Wire
from penstock.core.errors import RetryLater, StopProcess
from penstock.local.folder import StackFolder, held
from penstock.local.stack import GatewayAccess, KafkaAccess, PostgresAccess, S3Access, Stack, write_stack

STACK_URL = "http://127.0.0.1:8470"


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """A stack runs in the folder above."""
    folder = StackFolder(Path.cwd() / ".penstock")
    folder.create()
    gateway = GatewayAccess(getattr(request, "param", STACK_URL))
    access = (KafkaAccess("k:1"), PostgresAccess("postgresql://x"), S3Access("http://s", "a", "b", "c"))
    write_stack(folder, Stack(*access, gateway, "stack-token", {}, []))
    below = Path("below")
    below.mkdir()
    monkeypatch.chdir(below)
    with held(folder):
        yield


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where calls go, and with which token."""
    found: dict[str, str] = {}

    def call(wire: Wire, *_: object, **__: object) -> object:
        found.update(url=wire.url, token=vars(wire)["_token"])
        return {}

    monkeypatch.setattr(Wire, "call", call)
    return found


def where(sent: dict[str, str], url: str = "") -> tuple[str, str]:
    connect(url).pipeline("x")
    return sent["url"], sent["token"]


@pytest.mark.usefixtures("stack")
def test_the_stack_that_runs_here_is_found_from_below(sent: dict[str, str]) -> None:
    assert where(sent) == (STACK_URL, "stack-token")


@pytest.mark.usefixtures("stack")
def test_another_token_may_be_used_with_it(sent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "mine")
    assert where(sent) == (STACK_URL, "mine")


@pytest.mark.usefixtures("stack")
def test_its_token_goes_nowhere_else(sent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_URL", "http://elsewhere:1")
    with pytest.raises(StopProcess, match="PENSTOCK_TOKEN"):
        where(sent)
    assert where(sent, STACK_URL + "/") == (STACK_URL, "stack-token")


def test_the_option_beats_the_variable(sent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_URL", "http://elsewhere:1")
    monkeypatch.setenv("PENSTOCK_TOKEN", "mine")
    assert where(sent) == ("http://elsewhere:1", "mine")
    assert where(sent, "http://there:2") == ("http://there:2", "mine")


def test_a_token_may_be_in_a_file(sent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("token").write_text("kept\n")
    monkeypatch.setenv("PENSTOCK_TOKEN_FILE", "token")
    assert where(sent, "http://there:2") == ("http://there:2", "kept")


def test_nothing_runs_and_nothing_is_named(sent: dict[str, str]) -> None:
    with pytest.raises(RetryLater, match=r"penstock up.*--url or PENSTOCK_URL"):
        where(sent)


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("stack", [""], indirect=True)
def test_a_stack_of_servers_alone_has_no_gateway(sent: dict[str, str]) -> None:
    with pytest.raises(StopProcess, match="--servers-only"):
        where(sent)
