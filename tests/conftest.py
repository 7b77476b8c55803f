"""Fixtures for all tests: the real servers, started once a run and only when a test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.runtime.settings import KafkaSettings, ObjectSettings
from penstock.store.database import Database
from penstock.testing.databases import fresh_database
from penstock.testing.servers import Servers, servers


@pytest.fixture(scope="session")
def real_servers() -> Iterator[Servers]:
    with servers() as found:
        yield found


@pytest.fixture(scope="session")
def kafka_settings(real_servers: Servers) -> KafkaSettings:
    return real_servers.kafka


@pytest.fixture(scope="session")
def object_settings(real_servers: Servers) -> ObjectSettings:
    return real_servers.objects


@pytest.fixture(scope="module")
def postgres_dsn(real_servers: Servers) -> Iterator[str]:
    """A migrated database of the test module's own."""
    with fresh_database(real_servers.postgres.postgres_dsn) as dsn:
        yield dsn


@pytest.fixture
def db(postgres_dsn: str) -> Iterator[Database]:
    database = Database(postgres_dsn, "test")
    yield database
    database.close()
