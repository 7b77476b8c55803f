"""Accepting a pipeline (protocol §1): never a 2xx that can be lost, and the same key is the same pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from aiohttp import web

from penstock.core.errors import PenstockError, Problem, RetryLater
from penstock.core.ids import uuid7
from penstock.definition.limits import MAX_JSON_BYTES, MAX_YAML_BYTES
from penstock.definition.request import read_request
from penstock.events import pipelines, topics
from penstock.events.codec import encode
from penstock.events.envelope import envelope, traceparent
from penstock.events.pipelines import DefinitionRef, PipelineRequested
from penstock.kafka.acks import awaitable
from penstock.kafka.records import Outgoing
from penstock.runtime.clock import rfc3339
from penstock.runtime.log import logger
from penstock.store import queries, requests
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import HttpProblem, away, invalid, over_quota, too_large
from penstock_services.gateway.routing import reply
from penstock_services.gateway.watch import Follower

INLINE_BYTES: Final = 64 * 1024
"""A larger definition travels by reference."""
QUICK_BYTES: Final = 8 * 1024
"""A larger one is checked in a thread, so that others need not wait: it takes up to half a second."""
RECORD_BYTES: Final = topics.DOOR_RECORD_BYTES - 8 * 1024
"""What a record may have beside its key and headers."""
PUBLISH_SECONDS: Final = 2.0
"""When the sweep publishes it again for the first time."""
LOOK_SECONDS: Final = 0.5
"""How often to look into Postgres while no status record comes."""

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

log = logger(__name__)


class Asked(NamedTuple):
    """A request that may be received: the record's content, its digest, the id it gets if it is new."""

    requested: PipelineRequested
    digest: str
    pipeline_id: str
    now: float
    trace: str

    @property
    def owner(self) -> tuple[str, str]:
        """Tenant and key."""
        return self.requested.tenant, self.requested.request_id


async def submit(gateway: Gateway, requested: PipelineRequested, trace: str) -> web.Response:
    """Answer a request for a pipeline. `trace` is the client's `traceparent`, if any.

    Raises:
        HttpProblem: 409, 413, 422, 503.
        RetryLater: the object storage is away and is needed.
    """
    until = asyncio.get_running_loop().time() + gateway.settings.acceptance_wait_seconds
    asked = await _read(gateway, requested, trace)
    async with gateway.watch.follow(asked.pipeline_id, until) as follower:
        record = _record(gateway, asked, asked.pipeline_id)
        assert record.value is not None
        try:
            kept = await gateway.pool.run(
                requests.receive,
                tenant=asked.requested.tenant,
                key=asked.requested.request_id,
                digest=asked.digest,
                pipeline_id=asked.pipeline_id,
                body=record.value.decode(),
                publish_seconds=PUBLISH_SECONDS,
            )
        except RetryLater as error:
            log.warning("accepting by Kafka alone", error=str(error))
            return await _by_kafka_alone(gateway, asked)
        if kept["outcome"] == "conflict":
            raise _conflict(asked, kept["pipeline_id"])
        if kept["outcome"] == "repeat":
            return await _repeated(gateway, asked)
        gateway.sender.post([record], _told)
        decided = await _decision(gateway, asked, follower, until)
    if decided is None:
        return _answer(gateway, 202, asked, asked.pipeline_id, "RECEIVED")
    _raise_if_rejected(asked, decided)
    return _answer(gateway, 201, asked, asked.pipeline_id, decided["state"])


async def _read(gateway: Gateway, requested: PipelineRequested, trace: str) -> Asked:
    """Check the request; put a large definition where intake will find it."""
    now = gateway.process.clock.now()
    inline = _inline(requested)
    large = len(inline) > INLINE_BYTES
    if large:
        reference = DefinitionRef(hashlib.sha256(inline).hexdigest())
        requested = msgspec.structs.replace(
            requested, definition=None, definition_yaml=None, definition_ref=reference
        )
    stored = inline if large else await gateway.stored_definition(requested)
    if stored is None and len(inline) <= QUICK_BYTES:
        read = read_request(requested, now=now)
    else:
        read = await asyncio.to_thread(read_request, requested, now=now, stored=stored)
    if read.problems:
        raise invalid(read.problems)
    asked = Asked(requested, read.digest, requested.pipeline_id or uuid7(now), now, trace)
    if len(encode(requested)) > RECORD_BYTES:
        raise too_large("the request beside its definition", RECORD_BYTES)
    if large:
        await asyncio.to_thread(gateway.definitions.keep, requested.tenant, inline)
    return asked


def _inline(requested: PipelineRequested) -> bytes:
    """The definition if it is in the request, and nothing else is.

    Raises:
        HttpProblem: 413.
    """
    given = (requested.definition, requested.definition_yaml, requested.definition_ref)
    if sum(one is not None for one in given) != 1:
        return b""  # one problem more for the answer
    data, limit = b"", MAX_JSON_BYTES
    if requested.definition_yaml is not None:
        data, limit = requested.definition_yaml.encode(), MAX_YAML_BYTES
    elif requested.definition is not None:
        with contextlib.suppress(TypeError):  # not JSON after all: that, too, is told by the check
            data = orjson.dumps(requested.definition)
    if len(data) > limit:
        raise too_large("the definition", limit)
    return data


def _record(gateway: Gateway, asked: Asked, pipeline_id: str) -> Outgoing:
    """The record of `pipelines.requested`; without a pipeline id intake makes one."""
    requested = msgspec.structs.replace(asked.requested, pipeline_id=pipeline_id)
    trace = asked.trace if _TRACEPARENT.fullmatch(asked.trace) else traceparent(asked.pipeline_id)
    headers = envelope(
        pipelines.REQUESTED_TYPE,
        requested.request_id,
        rfc3339(asked.now),
        traceparent=trace,
        source=f"/penstock/{gateway.process.instance}".encode(),
    )
    return Outgoing(topics.PIPELINES_REQUESTED.name, requested.tenant, encode(requested), headers)


def _told(error: Exception | None) -> None:
    if error is not None:
        log.warning("request left to the sweep", error=str(error))


async def _decision(
    gateway: Gateway, asked: Asked, follower: Follower, until: float
) -> dict[str, Any] | None:
    """{state, reason, errors} of the pipeline as soon as there is one; None when there is none by `until`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(until):
            while not gateway.process.stopping.is_set():
                news = await follower.next(LOOK_SECONDS)
                if news is not None:
                    if not news.job_id and (news.tenant, news.request_id) == asked.owner:
                        return {"state": news.state, "reason": news.reason, "errors": news.errors}
                    continue
                found = await _look(gateway, asked)
                if found is not None and found["state"] != "RECEIVED":
                    return found
    return None


async def _look(gateway: Gateway, asked: Asked) -> dict[str, Any] | None:
    try:
        return await gateway.pool.run(queries.request, *asked.owner)
    except RetryLater:
        return None


async def _repeated(gateway: Gateway, asked: Asked) -> web.Response:
    """An equal repeat changes nothing: the pipeline as it is now."""
    found = await _look(gateway, asked)
    if found is None:
        raise away("postgres")
    _raise_if_rejected(asked, found)
    return _answer(gateway, 200, asked, found["pipeline_id"], found["state"])


async def _by_kafka_alone(gateway: Gateway, asked: Asked) -> web.Response:
    """Postgres is away: what Kafka has acknowledged is received.

    The key may mean an older pipeline already, so an id that we made up is not told: it may be another one.
    """
    chosen = asked.requested.pipeline_id
    acked, done = awaitable()
    gateway.sender.post([_record(gateway, asked, chosen)], done)
    try:
        await acked
    except PenstockError as error:
        log.warning("request refused", error=str(error))
        raise away("postgres and kafka") from error
    return _answer(gateway, 202, asked, chosen or None, "RECEIVED")


def _raise_if_rejected(asked: Asked, found: dict[str, Any]) -> None:
    if found["state"] != "REJECTED":
        return
    errors = [msgspec.convert(error, Problem) for error in found["errors"] or ()]
    more = {"request_id": asked.requested.request_id, "state": "REJECTED", "reason": found["reason"]}
    if found["reason"] == "request-conflict":
        raise HttpProblem(409, "request-conflict", "refused by intake", errors=errors, more=more)
    if found["reason"] == "quota-exceeded":
        raise over_quota(errors, more=more)
    raise invalid(errors or [Problem("refused by intake")], more=more)


def _conflict(asked: Asked, holder: str | None) -> HttpProblem:
    key = asked.requested.request_id
    if holder is None:
        detail = f"pipeline_id {asked.pipeline_id} is in use; leave it out to have one made"
        return HttpProblem(409, "request-conflict", detail, more={"request_id": key})
    detail = f"request {key!r} asked for something else before; use a new key for a new request"
    return HttpProblem(409, "request-conflict", detail, more={"request_id": key, "pipeline_id": holder})


def _answer(gateway: Gateway, status: int, asked: Asked, pipeline_id: str | None, state: str) -> web.Response:
    key = asked.requested.request_id
    url = gateway.pipeline_url(pipeline_id) if pipeline_id else gateway.request_url(key)
    told = {"pipeline_id": pipeline_id} if pipeline_id else {}
    return reply({**told, "request_id": key, "state": state, "url": url}, status, {"Location": url})
