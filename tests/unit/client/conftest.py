from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.client.fake_gateway import TOKEN, FakeGateway

from penstock.client import Client


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as gateway:
        yield gateway


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client(gateway.url, TOKEN)
