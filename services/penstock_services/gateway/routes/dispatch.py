"""Seeing and steering the dispatch of a job: why it waits, and in which lane."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.standing import standing
from penstock_services.gateway import views
from penstock_services.gateway.bodies import read_wish
from penstock_services.gateway.explanation import explanation
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import HttpProblem, absent
from penstock_services.gateway.publishing import publish_soon
from penstock_services.gateway.routing import JSON, Answer, Body, Call, Route, reply


async def explain(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/jobs/{id}/explain."""
    facts = await gateway.pool.run(standing, call.identity.tenant, call.id_of("job"))
    if facts is None:
        raise absent("job")
    return reply(explanation(facts))


async def promote(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/jobs/{id}/promote."""
    job_id = call.id_of("job")
    lane = (await read_wish(call.request, views.PromoteRequest)).lane
    changes = Changes()
    actor = gateway.process.instance
    outcome = await gateway.pool.run(
        jobs.promote, changes, tenant=call.identity.tenant, job_id=job_id, lane=lane, actor=actor
    )
    match outcome:
        case "absent":
            raise absent("job")
        case "terminal":
            raise HttpProblem(409, "already-terminal", "the job has ended already")
        case "lower":
            raise HttpProblem(409, "lane-is-higher", f"the job is in a higher lane than {lane} already")
    if changes:
        await publish_soon(gateway, changes, "promotion")
    url = gateway.job_url(job_id)
    return reply({"job_id": job_id, "lane": lane, "promoted": outcome == "promoted", "url": url})


ROUTES: Final = (
    Route(
        "GET",
        "/v1/jobs/{id}/explain",
        explain,
        "Why a job is in its state: what it waits for, who has it, or how it ended.",
        {200: Answer("The explanation.", views.Explanation)},
        problems=(404,),
    ),
    Route(
        "POST",
        "/v1/jobs/{id}/promote",
        promote,
        "Raise the lane of a job that has not ended; it keeps its age."
        " 409 `already-terminal`, `lane-is-higher`.",
        {200: Answer("It is in that lane.", views.PromoteReceipt)},
        scope="write",
        body=Body({JSON: views.PromoteRequest}, required=False),
        problems=(400, 404, 409, 413, 415, 422),
    ),
)
