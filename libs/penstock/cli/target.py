"""Which servers a command talks to: those that the environment names, else the stack that runs here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from penstock.local.stack import read_stack
from penstock.runtime import settings

S = TypeVar("S")

NAMED_BY = ("PENSTOCK_KAFKA_BOOTSTRAP", "PENSTOCK_POSTGRES_DSN", "PENSTOCK_S3_ENDPOINT")


def target_environment(start: Path | None = None) -> dict[str, str]:
    """The environment, completed by the running stack's addresses where it names no servers itself.

    Raises:
        RetryLater: it names none, and no stack runs in this folder or above it.
    """
    environ = settings.environment()
    if any(name in environ or f"{name}_FILE" in environ for name in NAMED_BY):
        return environ
    return {**read_stack(start or Path.cwd()).environment(), **environ}


def target_settings(kind: type[S]) -> S:
    """Settings of one kind for the servers that a command talks to.

    Raises:
        RetryLater: as `target_environment`.
        StopProcess: a variable is missing or does not parse.
    """
    return settings.load(kind, target_environment())
