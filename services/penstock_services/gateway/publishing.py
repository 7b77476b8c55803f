"""Records of what a handler has committed: published at once, or by the reaper's relay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from penstock.core.errors import PenstockError
from penstock.events import cancels, topics
from penstock.events.cancels import CancelRequested
from penstock.events.codec import encode
from penstock.events.envelope import envelope, traceparent
from penstock.kafka import publish
from penstock.kafka.acks import awaitable
from penstock.kafka.records import Outgoing
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


def post_cancels(gateway: Gateway, wishes: Iterable[tuple[str, CancelRequested]], now: float) -> None:
    """Publish cancels that are kept in Postgres, each with an id of its record; nobody waits for them."""
    source = f"/penstock/{gateway.process.instance}".encode()
    records = [
        Outgoing(
            topics.CANCEL_REQUESTED.name,
            wish.pipeline_id,
            encode(wish),
            envelope(cancels.REQUESTED_TYPE, cancel_id, rfc3339(now), source=source,
                     traceparent=traceparent(wish.pipeline_id, wish.job_id)),
        )
        for cancel_id, wish in wishes
    ]  # fmt: skip
    if records:
        gateway.sender.post(records, _told)


def _told(error: Exception | None) -> None:
    if error is not None:
        log.warning("cancel left to the sweep", error=str(error))
