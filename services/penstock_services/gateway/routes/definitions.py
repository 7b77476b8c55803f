"""Checking definitions and storing them for requests that name them by their digest."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from penstock.definition import Plan, check, load_json_object, load_yaml
from penstock.definition.request import read_request
from penstock_services.gateway import views
from penstock_services.gateway.bodies import decode_object, read_definition_body
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.levels import levels
from penstock_services.gateway.problems import invalid
from penstock_services.gateway.routing import JSON, YAML, Answer, Body, Call, Route, reply
from penstock_services.gateway.submission import QUERY, from_json, from_yaml, refuse_query


async def store(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/definitions."""
    kind, body = await read_definition_body(call.request)
    if kind == "json":
        obj = decode_object(body)
        await asyncio.to_thread(lambda: check(load_json_object(obj)))
    else:
        await asyncio.to_thread(lambda: check(load_yaml(body)))
    sha256 = await asyncio.to_thread(gateway.definitions.keep, call.identity.tenant, body)
    return reply({"sha256": sha256}, 201)


async def lint(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/lint."""
    kind, body = await read_definition_body(call.request)
    if kind == "json":
        refuse_query(call.query)
        fields = decode_object(body)
        if "jobs" in fields:
            fields = {"definition": fields}
        requested = from_json(fields, call.identity, None)
    else:
        requested = from_yaml(body, call.query, call.identity, None)
    stored = await gateway.stored_definition(requested)
    now = gateway.process.clock.now()
    read = await asyncio.to_thread(read_request, requested, now=now, stored=stored)
    if read.plan is None:
        raise invalid(read.problems)
    return reply(await asyncio.to_thread(_summary, read.plan))


def _summary(planned: Plan) -> dict[str, Any]:
    level = levels(range(len(planned.jobs)), planned.edges)
    needs: list[list[str]] = [[] for _ in planned.jobs]
    for parent, child in planned.edges:
        needs[child].append(planned.jobs[parent].name)
    jobs = [
        {
            "name": job.name,
            "stage": job.stage or None,
            "pool": job.pool,
            "labels": job.labels,
            "lane": job.lane,
            "executor": job.executor,
            "needs": sorted(needs[index]),
            "level": level[index],
        }
        for index, job in enumerate(planned.jobs)
    ]
    jobs.sort(key=lambda job: (job["level"], job["name"]))
    return {
        "name": planned.name,
        "jobs": jobs,
        "edges": len(planned.edges),
        "levels": max(level.values(), default=-1) + 1,
    }


ROUTES: Final = (
    Route(
        "POST",
        "/v1/definitions",
        store,
        "Check and store a definition; requests may name it by `definition_ref`.",
        {201: Answer("Stored under the SHA-256 of the body.", views.DefinitionReceipt)},
        scope="write",
        body=Body({JSON: dict[str, Any], YAML: None}),
        problems=(400, 413, 415, 422),
    ),
    Route(
        "POST",
        "/v1/lint",
        lint,
        "Check a request, or a definition alone, and show what it expands to. Nothing is kept.",
        {200: Answer("It is good.", views.PlanView)},
        parameters=QUERY,
        body=Body({JSON: views.PipelineRequest, YAML: None}),
        problems=(400, 413, 415, 422),
    ),
)
