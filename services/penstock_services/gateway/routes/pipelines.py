"""Asking for pipelines, listing and showing them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from aiohttp import web

from penstock.core.states import PIPELINE_STATES
from penstock.definition.request import MAX_REQUEST_ID_BYTES
from penstock.store import queries
from penstock_services.gateway import views
from penstock_services.gateway.acceptance import submit
from penstock_services.gateway.bodies import decode_object, read_definition_body
from penstock_services.gateway.cursors import page_cursor, read_page_cursor
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.levels import levels
from penstock_services.gateway.problems import absent
from penstock_services.gateway.routing import JSON, YAML, Answer, Body, Call, Parameter, Route, reply
from penstock_services.gateway.submission import KEY_HEADER, QUERY, from_json, from_yaml, refuse_query

PAGE: Final = 50
MAX_PAGE: Final = 200


async def create(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/pipelines."""
    key = call.request.headers.get(KEY_HEADER)
    kind, body = await read_definition_body(call.request)
    if kind == "json":
        refuse_query(call.query)
        requested = from_json(decode_object(body), call.identity, key)
    else:
        requested = from_yaml(body, call.query, call.identity, key)
    return await submit(gateway, requested, call.request.headers.get("traceparent", ""))


async def page(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/pipelines."""
    query = call.query
    limit: int = query["limit"]
    found = await gateway.pool.run(
        queries.pipelines,
        call.identity.tenant,
        states=query["state"],
        branch=query["branch"],
        repo=query["repo"],
        before=read_page_cursor(query["cursor"]) if query["cursor"] else None,
        limit=limit + 1,
    )
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = page_cursor(last["created_at"], last["pipeline_id"])
    shown = [_shown(gateway, pipeline) for pipeline in found[:limit]]
    return reply({"pipelines": shown, "next_cursor": following})


async def show(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/pipelines/{id}."""
    found = await gateway.pool.run(queries.pipeline, call.identity.tenant, call.id_of("pipeline"))
    if found is None:
        raise absent("pipeline")
    return reply(_shown(gateway, found))


async def jobs(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/pipelines/{id}/jobs."""
    graph = await gateway.pool.run(
        queries.graph, call.identity.tenant, call.id_of("pipeline"), with_attempts=call.query["attempts"]
    )
    if graph is None:
        raise absent("pipeline")
    names = {job["job_id"]: job["name"] for job in graph.jobs}
    level = levels(names, graph.edges)
    needs: defaultdict[str, list[str]] = defaultdict(list)
    for parent, child in graph.edges:
        needs[child].append(names[parent])
    for job in graph.jobs:
        job_id = job["job_id"]
        job["needs"] = sorted(needs[job_id])
        job["level"] = level[job_id]
        job["url"] = gateway.job_url(job_id)
    graph.jobs.sort(key=lambda job: (job["level"], job["name"]))
    return reply({"jobs": graph.jobs})


async def request(gateway: Gateway, call: Call) -> web.StreamResponse:
    """GET /v1/requests/{key}."""
    key = call.request.match_info["key"]
    try:
        usable = "\0" not in key and len(key.encode()) <= MAX_REQUEST_ID_BYTES
    except UnicodeEncodeError:
        usable = False
    found = await gateway.pool.run(queries.request, call.identity.tenant, key) if usable else None
    if found is None:
        raise absent("request")
    if found["state"] == "RECEIVED":
        found["url"] = gateway.request_url(key)
    else:
        found["url"] = gateway.pipeline_url(found["pipeline_id"])
    return reply(found)


def _shown(gateway: Gateway, pipeline: dict[str, Any]) -> dict[str, Any]:
    return {**pipeline, "url": gateway.pipeline_url(pipeline["pipeline_id"])}


ROUTES: Final = (
    Route(
        "POST",
        "/v1/pipelines",
        create,
        "Ask for a pipeline. Equal requests under one key are one pipeline.",
        {
            200: Answer("An equal repeat: the pipeline as it is now.", views.Receipt),
            201: Answer("Accepted.", views.Receipt),
            202: Answer("Received; it will be accepted or rejected.", views.Receipt),
        },
        scope="write",
        parameters=(
            Parameter(KEY_HEADER, "Idempotency key, at most 128 bytes; beats `request_id`.", place="header"),
            Parameter("traceparent", "W3C trace context, passed on.", place="header"),
            *QUERY,
        ),
        body=Body({JSON: views.PipelineRequest, YAML: None}),
        problems=(400, 409, 413, 415, 422, 429),
    ),
    Route(
        "GET",
        "/v1/pipelines",
        page,
        "Pipelines, the newest first, REJECTED ones too.",
        {200: Answer("A page.", views.PipelinePage)},
        parameters=(
            Parameter(
                "state", "Only in this state; may be repeated.", choices=PIPELINE_STATES, repeated=True
            ),
            Parameter("branch", "Only of this branch."),
            Parameter("repo", "Only of this repository."),
            Parameter("limit", "Pipelines a page.", "integer", PAGE, 1, MAX_PAGE),
            Parameter("cursor", "`next_cursor` of the page before."),
        ),
        problems=(422,),
    ),
    Route(
        "GET",
        "/v1/pipelines/{id}",
        show,
        "One pipeline, with its jobs counted by state.",
        {200: Answer("The pipeline.", views.PipelineView)},
        problems=(404,),
    ),
    Route(
        "GET",
        "/v1/pipelines/{id}/jobs",
        jobs,
        "All jobs of a pipeline with what they need.",
        {200: Answer("The jobs.", views.JobPage)},
        parameters=(Parameter("attempts", "With all attempts of each job.", "flag", default=False),),
        problems=(404, 422),
    ),
    Route(
        "GET",
        "/v1/requests/{key}",
        request,
        "What became of a request.",
        {200: Answer("The request.", views.RequestView)},
        problems=(404,),
    ),
)
