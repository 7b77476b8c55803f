"""Jobs and their attempts, and the sessions that run them."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from penstock.store import queries
from penstock_services.gateway import views
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import absent
from penstock_services.gateway.routing import Answer, Call, Parameter, Route, reply

KINDS: Final = ("runner", "logs")


async def show(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/jobs/{id}."""
    found = await gateway.pool.run(queries.job, call.identity.tenant, call.id_of("job"))
    if found is None:
        raise absent("job")
    return reply({**found, "url": gateway.job_url(found["job_id"])})


async def attempts(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/jobs/{id}/attempts."""
    found = await gateway.pool.run(queries.attempts, call.identity.tenant, call.id_of("job"))
    if found is None:
        raise absent("job")
    return reply({"attempts": found})


async def workers(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/workers."""
    return reply({"workers": await gateway.pool.run(queries.sessions, call.query["kind"])})


ROUTES: Final = (
    Route(
        "GET",
        "/v1/jobs/{id}",
        show,
        "One job with its whole past.",
        {200: Answer("The job.", views.JobDetail)},
        problems=(404,),
    ),
    Route(
        "GET",
        "/v1/jobs/{id}/attempts",
        attempts,
        "All attempts of a job.",
        {200: Answer("The attempts.", views.AttemptPage)},
        problems=(404,),
    ),
    Route(
        "GET",
        "/v1/workers",
        workers,
        "Sessions of runners, which all tenants share.",
        {200: Answer("The sessions.", views.WorkerPage)},
        parameters=(
            Parameter("kind", "Sessions of which kind of process.", "text", "runner", choices=KINDS),
        ),
        problems=(422,),
    ),
)
