"""Kafka as one KRaft node on loopback: its folder, configuration and command line."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.core.errors import StopProcess
from penstock.events.topics import MAX_RECORD_BYTES
from penstock.local.jars import Jar
from penstock.local.java import OPTIONS, StartupCache, java, java_environment
from penstock.local.ports import HOST
from penstock.local.process import Command, run

PROPERTIES: Final = "server.properties"
LOGGING: Final = "log4j2.properties"

# A crashed member of a group is noticed after 5 s in place of 45; a new one gets partitions at once.
GROUPS: Final = {
    "group.initial.rebalance.delay.ms": 0,
    "group.consumer.min.session.timeout.ms": 3000,
    "group.consumer.session.timeout.ms": 5000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 1000,
}
LOG4J: Final = """\
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
"""


def properties(broker: int, controller: int, advertised: int) -> str:
    """The node's configuration for its ports, and the one that clients are told; paths are relative to its
    data folder, so no path needs escaping.
    """
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{advertised}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "log",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
        # One that was killed is let in again, as itself, once its old session is over: 3 s in place of 9.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # A record of the largest size plus its envelope.
        "message.max.bytes": MAX_RECORD_BYTES + 65_536,
        "replica.fetch.max.bytes": MAX_RECORD_BYTES + 65_536,
        # One machine, small topics: small preallocations, few threads.
        "log.segment.bytes": 256 * 1024 * 1024,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        **GROUPS,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


class Kafka:
    """The broker below `data`; its jars are in `cache`."""

    def __init__(
        self, data: Path, cache: Path, jars: tuple[Jar, ...], *, port: int, advertised: int, heap_mb: int
    ) -> None:
        if os.pathsep in str(cache):
            raise StopProcess(
                f"{cache}: Java loads no jars from a path with {os.pathsep!r} in it; set XDG_CACHE_HOME"
            )
        files = [cache / jar.filename for jar in jars]
        self.data = data
        self.port = port
        self._advertised = advertised
        self.startup = StartupCache(cache, "kafka", files)
        self._classpath = os.pathsep.join(str(file) for file in files)
        self._heap = ("-Xms128m", f"-Xmx{heap_mb}m")

    async def prepare(self, controller_port: int, environ: Mapping[str, str], log: Path) -> None:
        """Write the configuration; format the folder when it is new, or was emptied. Raises `StopProcess`.

        Each time under another cluster id: by it all who remember the old one notice that theirs is gone.
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data / PROPERTIES).write_text(properties(self.port, controller_port, self._advertised))
        (self.data / LOGGING).write_text(LOG4J)
        if (self.data / "log" / "meta.properties").exists():
            return
        options = ("-XX:TieredStopAtLevel=1", "-Xmx128m", *self.startup.read())
        cluster_id = "A" + secrets.token_urlsafe(16)[1:]  # a leading dash would read as an option
        tool = ("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", PROPERTIES)
        await run(self._java(environ, options, tool), log, seconds=60)

    def command(self, environ: Mapping[str, str]) -> Command:
        """How to start the broker."""
        return self._java(environ, (*self._heap, *self.startup.record()), ("kafka.Kafka", PROPERTIES))

    def _java(self, environ: Mapping[str, str], options: tuple[str, ...], main: tuple[str, ...]) -> Command:
        logging = f"-Dlog4j2.configurationFile={LOGGING}"
        return Command(
            arguments=(str(java()), *OPTIONS, *options, logging, "-cp", self._classpath, *main),
            environment=java_environment(environ),
            directory=self.data,
        )
