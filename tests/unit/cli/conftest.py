from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.client.fake_gateway import TOKEN, FakeGateway


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack runs here, and no variable names one."""
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """The gateway that commands find."""
    with FakeGateway() as gateway:
        monkeypatch.setenv("PENSTOCK_URL", gateway.url)
        monkeypatch.setenv("PENSTOCK_TOKEN", TOKEN)
        yield gateway
