"""The whole store suite runs twice: on a connection of its own, and through a transaction pooler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.store.database import Database
from penstock.testing.pooler import pooled


@pytest.fixture(scope="module")
def pooled_dsn(postgres_dsn: str) -> Iterator[str]:
    with pooled(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture(params=["direct", "pooled"])
def db(request: pytest.FixtureRequest, postgres_dsn: str) -> Iterator[Database]:
    dsn = postgres_dsn if request.param == "direct" else request.getfixturevalue("pooled_dsn")
    database = Database(dsn, "test")
    yield database
    database.close()
