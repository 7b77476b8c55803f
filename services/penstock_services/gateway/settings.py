"""Settings of the gateway."""

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
class GatewaySettings:
    """Shared groups, where it listens, and how patient it is."""

    process: ProcessSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    objects: ObjectSettings
    logs: LogSettings
    gateway_host: str = setting("127.0.0.1", doc="Address on which it listens.")
    gateway_port: int = setting(0, doc="Port on which it listens; 0 takes a free one.")
    public_url: str = setting(
        "", doc="What clients see in front of /v1, such as https://ci.example.org; empty: links are relative."
    )
    acceptance_wait_seconds: float = setting(
        2.0, doc="How long an answer to a new pipeline waits for its acceptance before it says 202."
    )
    token_grace_seconds: float = setting(
        600.0, doc="While Postgres is away, tokens that were good so long ago are good."
    )
    stream_heartbeat_seconds: float = setting(
        15.0, doc="A quiet event stream gets a comment so often, for proxies."
    )
    stream_sweep_seconds: float = setting(
        5.0, doc="How often a live stream looks into Postgres for what Kafka did not bring."
    )
    gateway_connections: int = setting(8, doc="Connections to Postgres.")
    gateway_log_connections: int = setting(8, doc="More of them, for readers of stored logs.")

    def __post_init__(self) -> None:
        if self.public_url and not self.public_url.startswith(("http://", "https://")):
            raise ValueError(
                f"PENSTOCK_PUBLIC_URL={self.public_url!r} does not start with http:// or https://"
            )
        for name in ("gateway_connections", "gateway_log_connections"):
            if getattr(self, name) < 1:
                raise ValueError(f"PENSTOCK_{name.upper()}={getattr(self, name)} must be at least 1")
