"""Settings of the logs service."""

from __future__ import annotations

import dataclasses

from penstock.logs.settings import LogSettings
from penstock.runtime.settings import (
    KafkaSettings,
    ObjectSettings,
    PostgresSettings,
    ProcessSettings,
    setting,
)


@dataclasses.dataclass(frozen=True)
class ChunkSettings:
    """When lines are stored."""

    log_chunk_bytes: int = setting(
        4 * 1024 * 1024, doc="A chunk of a log is stored when it has so many bytes of lines,"
    )
    log_chunk_seconds: float = setting(10.0, doc="or when its oldest line has waited so long in memory.")
    log_gap_seconds: float = setting(
        30.0, doc="Lines wait so long for missing ones before them; then they are stored without."
    )
    log_buffer_bytes: int = setting(
        256 * 1024 * 1024, doc="Most that is held in memory; beyond it nothing is read from Kafka."
    )
    log_put_threads: int = setting(16, doc="Chunks that are put into the object storage at once.")
    log_sweep_seconds: float = setting(10.0, doc="How often logs without an end are looked for.")
    log_drain_seconds: float = setting(8.0, doc="How long SIGTERM waits for what is in memory to be stored.")

    def __post_init__(self) -> None:
        for name, least in (
            ("log_chunk_bytes", 1024),
            ("log_buffer_bytes", 1024 * 1024),
            ("log_put_threads", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"PENSTOCK_{name.upper()}={getattr(self, name)} must be at least {least}")


@dataclasses.dataclass(frozen=True)
class TailSettings:
    """The inner HTTP server of live logs; only the gateway should reach it."""

    tail_host: str = setting("127.0.0.1", doc="Address on which live logs are served to the gateway.")
    tail_port: int = setting(0, doc="Its port; 0 takes a free one.")
    tail_address: str = setting("", doc="host:port under which the gateway reaches it, where they differ.")
    tail_stall_seconds: float = setting(
        15.0, doc="A reader that does not take a piece of a log within this time is dropped."
    )


@dataclasses.dataclass(frozen=True)
class LogsSettings:
    """All of them."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    objects: ObjectSettings
    logs: LogSettings
    chunks: ChunkSettings
    tail: TailSettings
