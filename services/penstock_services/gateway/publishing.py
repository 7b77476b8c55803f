"""Records of what a handler has committed: published at once, or by the reaper's relay."""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.core.errors import PenstockError
from penstock.kafka import publish
from penstock.kafka.acks import awaitable
from penstock.runtime.clock import rfc3339
from penstock.runtime.log import logger
from penstock.store import outbox
from penstock.store.changes import Changes
from penstock_services.gateway.gateway import Gateway

PUBLISHED_SECONDS: Final = 1.0
"""An answer waits so long for Kafka to have the records."""

log = logger(__name__)


async def publish_soon(gateway: Gateway, changes: Changes, what: str) -> None:
    """Publish what was committed; what Kafka does not take soon is left to the relay. `what`: for the log."""
    acked, done = awaitable()

    def post() -> None:
        actor = gateway.process.instance
        records = publish.records(changes, actor)
        records += publish.undecided_hints(changes.undecided, rfc3339(gateway.process.clock.now()), actor)
        gateway.sender.post(records, done)

    try:
        await asyncio.to_thread(post)
        await asyncio.wait_for(acked, PUBLISHED_SECONDS)
        await gateway.pool.run(outbox.acked, changes.outbox_ids)
    except (PenstockError, TimeoutError) as error:
        log.warning("left to the relay", what=what, error=str(error))
