"""The three servers of the local stack as components: ready once Penstock can use them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from penstock.local.component import Spec
from penstock.local.folder import Credentials, StackFolder
from penstock.local.jars import JarLock
from penstock.local.kafka import Kafka
from penstock.local.objects import BUCKET, ObjectServer
from penstock.local.ports import HOST, Ports
from penstock.local.postgres import Postgres
from penstock.local.process import Command, run
from penstock.local.settings import LocalSettings
from penstock.local.stack import KafkaAccess, PostgresAccess, S3Access

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Access:
    """How to reach the three servers."""

    kafka: KafkaAccess
    postgres: PostgresAccess
    s3: S3Access


class Servers:
    """Kafka, Postgres and S3 of one folder."""

    def __init__(
        self,
        folder: StackFolder,
        settings: LocalSettings,
        credentials: Credentials,
        ports: Ports,
        cache: Path,
        lock: JarLock,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._credentials = credentials
        self._controller_port = 0
        kafka_port = ports.reserve(settings.kafka_port, "kafka")
        self._controller_port = ports.reserve(kafka_port + 1)
        data = folder.data
        self._kafka = Kafka(
            data / "kafka",
            cache,
            lock.kafka,
            port=kafka_port,
            advertised=settings.kafka_advertised_port or kafka_port,
            heap_mb=settings.kafka_heap_mb,
        )
        self._postgres = Postgres(
            data / "postgres",
            port=ports.reserve(settings.postgres_port, "postgres"),
            password=credentials.postgres_password,
        )
        self._s3 = ObjectServer(
            data / "s3", folder.config, cache, lock.s3proxy, port=ports.reserve(settings.s3_port, "s3")
        )

    @property
    def access(self) -> Access:
        """Addresses and credentials."""
        keys = self._credentials
        endpoint = f"http://{HOST}:{self._s3.port}"
        return Access(
            kafka=KafkaAccess(bootstrap=f"{HOST}:{self._kafka.port}"),
            postgres=PostgresAccess(dsn=self._postgres.dsn),
            s3=S3Access(endpoint, keys.s3_access_key, keys.s3_secret_key, BUCKET),
        )

    @property
    def recording(self) -> bool:
        """Whether a server of this run will write its start-up cache when it ends."""
        return self._kafka.startup.recording or self._s3.startup.recording

    async def kafka(self, environ: Mapping[str, str]) -> Spec:
        """Kafka, its folder formatted before each start that finds it empty."""
        log = self._log("kafka")

        async def prepare() -> None:
            await self._kafka.prepare(self._controller_port, environ, log)

        command = self._kafka.command(environ)
        spec = self._spec("kafka", self._kafka.port, command, self._prepared("kafka", environ))
        return dataclasses.replace(spec, prepare=prepare, ended=self._kafka.startup.settle)

    async def postgres(self, environ: Mapping[str, str], say: Say) -> Spec:
        """Postgres, its cluster made; says where its data are when they could not be in the folder."""
        log = self._log("postgres")
        if note := await self._postgres.prepare(environ, log):
            say(note)
        prepared = self._prepared("postgres", environ)

        async def ready() -> None:
            await self._postgres.create_database(environ, log)
            await prepared()

        return self._spec("postgres", self._postgres.port, self._postgres.command(environ), ready)

    async def s3(self, environ: Mapping[str, str]) -> Spec:
        """The S3 server, its keys written down."""
        self._s3.prepare(self._credentials.s3_access_key, self._credentials.s3_secret_key)
        command = self._s3.command(environ)
        spec = self._spec("s3", self._s3.port, command, self._prepared("s3", environ))
        return dataclasses.replace(spec, ended=self._s3.startup.settle)

    def _prepared(self, server: str, environ: Mapping[str, str]) -> Callable[[], Awaitable[None]]:
        """Runs `penstock.local.prepare` to its end."""
        command = Command(
            arguments=(sys.executable, "-m", "penstock.local.prepare", server),
            environment={
                **environ,
                "PENSTOCK_LOCAL_TOKEN": self._credentials.token,
                "PENSTOCK_LOCAL_PASSWORD": self._credentials.postgres_password,
            },
            directory=self._folder.path.parent,
        )
        log = self._folder.logs / f"prepare-{server}.log"
        return lambda: run(command, log, self._settings.start_seconds, f"preparing {server}")

    def _spec(self, name: str, port: int, command: Command, ready: Callable[[], Awaitable[None]]) -> Spec:
        seconds = self._settings.start_seconds
        log = self._log(name)
        return Spec(name, 0, command, log, port, ready, start_seconds=seconds, stop_seconds=30.0)

    def _log(self, name: str) -> Path:
        return self._folder.logs / f"{name}-0.log"
