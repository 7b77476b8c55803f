"""The service processes of the local stack: which, how started, when ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from penstock.local.component import Spec
from penstock.local.folder import StackFolder
from penstock.local.ports import HOST, Ports
from penstock.local.process import Command
from penstock.local.settings import LocalSettings
from penstock.store.roles import service_dsn

CONTROL: Final = ("intake", "advancer", "dispatcher", "reaper", "canceller", "logs")
SERVICES: Final = (*CONTROL, "gateway", "runner")
"""In the order in which they start; they stop the other way round."""
POLL_SECONDS: Final = 0.05
DEFAULTS: Final = {"PENSTOCK_OPEN_TENANCY": "true", "PENSTOCK_RETRY_BASE_SECONDS": "1"}
"""Fit for trying things out; the user's own environment goes over them."""
NOT_FOR_RUNNERS: Final = frozenset(
    ("PENSTOCK_POSTGRES_DSN", "PENSTOCK_S3_ACCESS_KEY", "PENSTOCK_S3_SECRET_KEY")
)
"""A runner runs other people's code: it never holds the keys of the servers."""
DRAIN_SECONDS: Final = "5"
"""Jobs that run when a local stack is stopped get this long to end, unless the user sets more."""
STOP_SECONDS: Final = 10.0


def service_specs(
    folder: StackFolder,
    settings: LocalSettings,
    ports: Ports,
    environment: Mapping[str, str],
    replicas: Mapping[str, int],
) -> list[Spec]:
    """A spec for every replica of every service; `environment` has what all of them share."""
    specs: list[Spec] = []
    health = settings.health_port
    for name in SERVICES:
        for replica in range(replicas.get(name, 0)):
            health = ports.reserve(health)
            own = {
                "PENSTOCK_HTTP_PORT": str(health),
                "PENSTOCK_INSTANCE": f"{name}-{replica}",
                "PENSTOCK_LOG_FORMAT": "json",
            }
            port = health
            if name == "gateway":
                port = ports.reserve(settings.gateway_port, "gateway")
                own["PENSTOCK_GATEWAY_PORT"] = str(port)
            given = {**_given(name, environment), **own}
            specs.append(_spec(folder, settings, name, replica, port, given, health))
    return specs


def _given(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Of what all services share, a service's own part: its role in Postgres; for a runner no keys at all."""
    if name == "runner":
        # Its host and state folder name it: several of the user's one name could not be told apart.
        left_out = (*NOT_FOR_RUNNERS, "PENSTOCK_NAME")
        kept = {key: value for key, value in environment.items() if key not in left_out}
        return {"PENSTOCK_DRAIN_SECONDS": DRAIN_SECONDS, **kept}
    dsn = service_dsn(environment["PENSTOCK_POSTGRES_DSN"], name)
    return {**DEFAULTS, **environment, "PENSTOCK_POSTGRES_DSN": dsn}


def _spec(
    folder: StackFolder,
    settings: LocalSettings,
    name: str,
    replica: int,
    port: int,
    environment: dict[str, str],
    health: int,
) -> Spec:
    drain = float(environment.get("PENSTOCK_DRAIN_SECONDS", 0))
    return Spec(
        name=name,
        replica=replica,
        command=Command(
            arguments=(sys.executable, "-m", "penstock", "service", name),
            environment=environment,
            directory=folder.path.parent,
        ),
        log=folder.logs / f"{name}-{replica}.log",
        port=port,
        ready=until_ready(health),
        start_seconds=settings.start_seconds,
        stop_seconds=STOP_SECONDS + drain,
    )


def until_ready(port: int) -> Callable[[], Awaitable[None]]:
    """Waits until GET /readyz on this port answers 200."""

    async def poll() -> None:
        while await http_status(port, "/readyz") != 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_SECONDS)

    return poll


async def http_status(port: int, path: str) -> int:
    """Status of a GET on loopback; 0 when nobody answers."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        status = await asyncio.wait_for(reader.readline(), 5.0)
        return int(status.split()[1])
    except (OSError, ValueError, IndexError, TimeoutError):
        return 0
    finally:
        writer.close()
