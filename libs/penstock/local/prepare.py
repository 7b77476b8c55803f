"""`python -m penstock.local.prepare SERVER`: wait until a server works, then make it ready for Penstock.

| server   | works when            | then                                              |
|----------|-----------------------|---------------------------------------------------|
| kafka    | a produce is acked    | the topics                                        |
| postgres | a query answers       | the migrations, the services' roles, a tenant and token |
| s3       | a PUT is stored       | the bucket                                        |

A process of its own: the supervisor stays small and loads no driver. Everything in it may be repeated.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Final

from penstock.core.errors import PenstockError, RetryLater
from penstock.runtime import settings
from penstock.runtime.clock import pause

ANSWER_SECONDS: Final = 5.0
"""How long one probe waits for its answer."""
PAUSE: Final = 0.05
"""Seconds between two probes of a server that is not there yet."""


@dataclasses.dataclass(frozen=True)
class SecretSettings:
    """What the local stack made up for this run."""

    local_token: str = settings.setting(doc="Token of tenant `default`; made by `penstock up`.", secret=True)
    local_password: str = settings.setting(doc="Password of the services' roles in Postgres.", secret=True)


def prepare_kafka() -> None:
    """Probe, then apply the topics."""
    from penstock.kafka.admin import apply_topics
    from penstock.kafka.probe import probe

    kafka = settings.load(settings.KafkaSettings)
    until_it_works(lambda: probe(kafka, ANSWER_SECONDS))
    until_it_works(lambda: apply_topics(kafka))


def prepare_postgres() -> None:
    """Probe, then migrate, let the services in and register the token."""
    from penstock.store.database import Database
    from penstock.store.migrate import migrate
    from penstock.store.probe import probe
    from penstock.store.roles import SERVICES
    from penstock.store.setup import set_passwords
    from penstock.store.tenants import ensure_local_token

    dsn = settings.load(settings.PostgresSettings).postgres_dsn
    until_it_works(lambda: probe(dsn))
    secrets = settings.load(SecretSettings)
    until_it_works(lambda: migrate(dsn))
    passwords: dict[str, str] = dict.fromkeys(SERVICES, secrets.local_password)
    until_it_works(lambda: set_passwords(Database(dsn, "penstock-setup"), passwords))
    until_it_works(lambda: ensure_local_token(dsn, secrets.local_token))


def prepare_s3() -> None:
    """Make the bucket, then probe it with a PUT."""
    from penstock.objects.s3 import ensure_bucket, probe

    s3 = settings.load(settings.ObjectSettings)
    until_it_works(lambda: ensure_bucket(s3))
    until_it_works(lambda: probe(s3, ANSWER_SECONDS))


def until_it_works(attempt: Callable[[], object], pause: Callable[[float], None] = pause) -> None:
    """Repeat while the server is away; each new reason goes to stderr. The supervisor bounds how long."""
    said = ""
    while True:
        try:
            attempt()
        except RetryLater as error:
            if str(error) != said:
                said = str(error)
                sys.stderr.write(said + "\n")
            pause(PAUSE)
        else:
            return


SERVERS: Final = {"kafka": prepare_kafka, "postgres": prepare_postgres, "s3": prepare_s3}


def main() -> None:
    """Prepare the server named by the first argument; a sentence on stderr when it cannot be."""
    try:
        SERVERS[sys.argv[1]]()
    except PenstockError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
