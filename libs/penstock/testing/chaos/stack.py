"""The local stack of an arena: `python -m penstock.testing.chaos.stack ORDER`, in the current folder.

It is `penstock up` with three differences: ended components come back at once, those that are held stay down
until they are released, and everybody reaches the servers at the proxies, if there are any.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

import msgspec

from penstock.local import up as running
from penstock.local.component import Spec
from penstock.local.folder import NAME, StackFolder
from penstock.local.jars import read_lock
from penstock.local.ports import HOST
from penstock.local.servers import Access
from penstock.local.services import SERVICES
from penstock.local.settings import LocalSettings, cache_folder
from penstock.local.stack import KafkaAccess, PostgresAccess, S3Access
from penstock.local.supervisor import Plan
from penstock.local.voice import Voice
from penstock.runtime.settings import environment, load

HOLDS = "holds"
"""Folder whose files name the components that stay down, beside `.penstock`."""
TARGETS = "targets.json"
"""Where the servers themselves listen, beside `.penstock`."""
BACKOFF = (0.1,)
LOOK_SECONDS = 0.05


class Order(msgspec.Struct, frozen=True):
    """What to start. `proxies` is the port of each server's proxy; empty: there are none."""

    replicas: dict[str, int]
    proxies: dict[str, int] = {}


class Targets(msgspec.Struct, frozen=True):
    """The servers' own ports."""

    kafka: int
    postgres: int
    s3: int


def main(words: list[str]) -> int:
    """Run until SIGTERM."""
    order = msgspec.json.decode(words[0], type=Order)
    folder = StackFolder(Path.cwd() / NAME)
    (Path.cwd() / HOLDS).mkdir(exist_ok=True)

    def reach(access: Access) -> Access:
        targets = Targets(
            kafka=_port(access.kafka.bootstrap),
            postgres=_port(access.postgres.dsn),
            s3=_port(access.s3.endpoint),
        )
        made = Path.cwd() / f".{TARGETS}"
        made.write_bytes(msgspec.json.encode(targets))
        made.replace(Path.cwd() / TARGETS)
        return _through(access, targets, order.proxies) if order.proxies else access

    plan = Plan(
        settings=load(LocalSettings),
        environ=environment(),
        replicas={name: order.replicas.get(name, 1) for name in SERVICES},
        cache=cache_folder(folder.path),
        jars=read_lock(),
        reach=reach,
        tune=_held,
        backoff=BACKOFF,
    )
    return running.up(folder, plan, Voice(as_json=True))


def _held(spec: Spec) -> Spec:
    """It does not start while a file says so."""
    hold = Path.cwd() / HOLDS / spec.label

    async def prepare() -> None:
        while hold.exists():  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(LOOK_SECONDS)
        await spec.prepare()

    return dataclasses.replace(spec, prepare=prepare)


def _through(access: Access, targets: Targets, proxies: dict[str, int]) -> Access:
    """The same access, each server at its proxy."""

    def at(text: str, port: int, proxy: int) -> str:
        return text.replace(f"{HOST}:{port}", f"{HOST}:{proxy}")

    return Access(
        kafka=KafkaAccess(at(access.kafka.bootstrap, targets.kafka, proxies["kafka"])),
        postgres=PostgresAccess(at(access.postgres.dsn, targets.postgres, proxies["postgres"])),
        s3=S3Access(
            at(access.s3.endpoint, targets.s3, proxies["s3"]),
            access.s3.access_key,
            access.s3.secret_key,
            access.s3.bucket,
        ),
    )


def _port(address: str) -> int:
    """Of a URL or a `host:port` on loopback."""
    return int(address.split(f"{HOST}:")[1].split("/")[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
