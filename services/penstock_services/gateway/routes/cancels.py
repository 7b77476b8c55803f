"""Cancelling pipelines and jobs (protocol §1): kept in Postgres before the 202, then published."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import uuid7
from penstock.events.cancels import CancelRequested
from penstock.store import requests
from penstock_services.gateway import views
from penstock_services.gateway.bodies import read_wish
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import HttpProblem, absent
from penstock_services.gateway.publishing import post_cancels
from penstock_services.gateway.routing import JSON, Answer, Body, Call, Route, reply

MAX_REASON_BYTES: Final = 1_024


async def cancel_pipeline(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/pipelines/{id}/cancel."""
    return await _cancel(gateway, call, "pipeline")


async def cancel_job(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/jobs/{id}/cancel."""
    return await _cancel(gateway, call, "job")


async def _cancel(gateway: Gateway, call: Call, what: str) -> web.StreamResponse:
    target = call.id_of(what)
    job_id = target if what == "job" else None
    reason = await _reason(call.request)
    now = gateway.process.clock.now()
    cancel_id = uuid7(now)
    kept = await gateway.pool.run(
        requests.request_cancel,
        cancel_id=cancel_id,
        tenant=call.identity.tenant,
        pipeline_id=None if job_id else target,
        job_id=job_id,
        reason=reason,
        requested_by=call.identity.token_id,
    )
    if kept["outcome"] == "absent":
        raise absent(what)
    if kept["outcome"] == "terminal":
        detail = f"the {what} ended already: {kept['state']}"
        raise HttpProblem(409, "already-terminal", detail, more={"state": kept["state"]})
    pipeline_id: str = kept["pipeline_id"]
    wish = CancelRequested(
        tenant=call.identity.tenant,
        pipeline_id=pipeline_id,
        job_id=job_id or "",
        reason=reason,
        requested_by=call.identity.token_id,
    )
    post_cancels(gateway, [(cancel_id, wish)], now)
    url = gateway.job_url(job_id) if job_id else gateway.pipeline_url(pipeline_id)
    told: dict[str, Any] = {"pipeline_id": pipeline_id, "url": url}
    return reply({**told, "job_id": job_id} if job_id else told, 202)


async def _reason(request: web.Request) -> str:
    """The reason in the body, which may be absent."""
    reason = (await read_wish(request, views.CancelRequest)).reason
    if "\0" in reason or len(reason.encode()) > MAX_REASON_BYTES:
        hint = f"at most {MAX_REASON_BYTES:,} bytes without U+0000"
        raise RejectInput(Problem("this is not usable text", "reason", hint=hint))
    return reason


_TAKES: Final = Body({JSON: views.CancelRequest}, required=False)
_ANSWERS: Final = {202: Answer("Kept; what waits ends at once, what runs is told to.", views.CancelReceipt)}

ROUTES: Final = (
    Route(
        "POST",
        "/v1/pipelines/{id}/cancel",
        cancel_pipeline,
        "Cancel a pipeline, also one that is only received. 409 `already-terminal`.",
        _ANSWERS,
        scope="write",
        body=_TAKES,
        problems=(400, 404, 409, 413, 415, 422),
    ),
    Route(
        "POST",
        "/v1/jobs/{id}/cancel",
        cancel_job,
        "Cancel one job. 409 `already-terminal`.",
        _ANSWERS,
        scope="write",
        body=_TAKES,
        problems=(400, 404, 409, 413, 415, 422),
    ),
)
