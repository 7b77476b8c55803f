"""What handlers are given: the ports to Postgres, Kafka and object storage, the clock, the settings."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import Final
from urllib.parse import quote

from penstock.events.pipelines import PipelineRequested
from penstock.kafka.ports import Sender
from penstock.objects.definitions import StoredDefinitions
from penstock.runtime.run import Process
from penstock.store.pool import Pool
from penstock_services.gateway.settings import GatewaySettings
from penstock_services.gateway.shelf import LogShelf
from penstock_services.gateway.watch import Watch

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Gateway:
    """One process of the gateway."""

    settings: GatewaySettings
    process: Process
    pool: Pool
    sender: Sender
    definitions: StoredDefinitions
    watch: Watch
    logs: LogShelf

    def pipeline_url(self, pipeline_id: str) -> str:
        """A link to a pipeline."""
        return f"{self.settings.public_url.rstrip('/')}/v1/pipelines/{pipeline_id}"

    def job_url(self, job_id: str) -> str:
        """A link to a job."""
        return f"{self.settings.public_url.rstrip('/')}/v1/jobs/{job_id}"

    def request_url(self, key: str) -> str:
        """A link to what became of a request."""
        return f"{self.settings.public_url.rstrip('/')}/v1/requests/{quote(key, safe='')}"

    async def stored_definition(self, requested: PipelineRequested) -> bytes | None:
        """What lies in object storage under the request's reference; None when nothing does.

        Raises:
            RetryLater: the storage is away.
        """
        reference = requested.definition_ref
        if reference is None or not _SHA256.fullmatch(reference.sha256):
            return None
        return await asyncio.to_thread(self.definitions.definition, requested.tenant, reference.sha256)
