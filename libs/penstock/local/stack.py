"""`.penstock/stack.json`: the running stack for programs, readable by its owner only.

Shape: {schema, kafka, postgres, s3, gateway, token, pids, components}; additions are free, changes are not.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.core.errors import RetryLater
from penstock.local.folder import NAME, StackFolder, find, is_held, write_private
from penstock.runtime.settings import KafkaSettings, ObjectSettings, PostgresSettings


class KafkaAccess(msgspec.Struct, frozen=True):
    """Door one and two."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"


class PostgresAccess(msgspec.Struct, frozen=True):
    """libpq URL with its password."""

    dsn: str


class S3Access(msgspec.Struct, frozen=True):
    """Keys of the local S3 server."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


class GatewayAccess(msgspec.Struct, frozen=True):
    """URL of the gateway; empty when only the servers run."""

    url: str


class StackComponent(msgspec.Struct, frozen=True):
    """One process; `log` is an absolute path."""

    name: str
    replica: int
    pid: int
    port: int
    log: str


class Stack(msgspec.Struct, frozen=True):
    """How to reach everything in one running stack."""

    kafka: KafkaAccess
    postgres: PostgresAccess
    s3: S3Access
    gateway: GatewayAccess
    token: str
    pids: dict[str, int]
    """Pid of each component's first replica, and `supervisor`."""
    components: list[StackComponent]
    schema: int = 1

    def environment(self) -> dict[str, str]:
        """The `PENSTOCK_*` variables of a process that uses this stack."""
        return {
            "PENSTOCK_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "PENSTOCK_POSTGRES_DSN": self.postgres.dsn,
            "PENSTOCK_S3_ENDPOINT": self.s3.endpoint,
            "PENSTOCK_S3_ACCESS_KEY": self.s3.access_key,
            "PENSTOCK_S3_SECRET_KEY": self.s3.secret_key,
            "PENSTOCK_S3_BUCKET": self.s3.bucket,
        }

    def kafka_settings(self) -> KafkaSettings:
        """For `penstock.kafka`."""
        return KafkaSettings(kafka_bootstrap=self.kafka.bootstrap)

    def postgres_settings(self) -> PostgresSettings:
        """For `penstock.store`."""
        return PostgresSettings(postgres_dsn=self.postgres.dsn)

    def object_settings(self) -> ObjectSettings:
        """For `penstock.objects`."""
        return ObjectSettings(
            s3_endpoint=self.s3.endpoint,
            s3_access_key=self.s3.access_key,
            s3_secret_key=self.s3.secret_key,
            s3_bucket=self.s3.bucket,
        )


def read_stack(start: Path) -> Stack:
    """The stack that runs in the nearest `.penstock/` in `start` or above it.

    Raises:
        RetryLater: none runs there, or it is still starting.
    """
    folder = find(start)
    if folder is None:
        raise RetryLater(f"no {NAME}/ in {start} or above it: start a stack with `penstock up`")
    if not is_held(folder):
        raise RetryLater(f"the stack in {folder.path} is not running: start it with `penstock up`")
    try:
        return msgspec.json.decode(folder.stack.read_bytes(), type=Stack)
    except FileNotFoundError:
        raise RetryLater(f"the stack in {folder.path} is still starting, or stopping") from None


def write_stack(folder: StackFolder, stack: Stack) -> None:
    """Replace the description of the running stack."""
    write_private(folder.stack, msgspec.json.format(msgspec.json.encode(stack), indent=2))
