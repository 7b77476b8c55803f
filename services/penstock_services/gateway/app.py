"""The aiohttp application: routes, what is checked before each, what every answer carries."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from penstock.store.tenants import Identity
from penstock_services.gateway.auth import Gate
from penstock_services.gateway.bodies import MAX_JSON_BODY
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.openapi import text as openapi_text
from penstock_services.gateway.problems import answer_problems
from penstock_services.gateway.routes import ROUTES
from penstock_services.gateway.routing import JSON, Call, Route, read_query
from penstock_services.gateway.sse import STREAMS

NOBODY: Final = Identity(tenant="", scopes=(), token_id="")
GONE: Final = "499"
"""Status in metrics of a call whose client went away."""


def make_app(gateway: Gateway) -> web.Application:
    """The application; it serves as soon as it is run."""
    app = web.Application(middlewares=[_measured(gateway), answer_problems], client_max_size=MAX_JSON_BODY)
    app[STREAMS] = weakref.WeakSet()
    gate = Gate(gateway.pool, gateway.process.clock, gateway.settings.token_grace_seconds)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(gateway, gate, route))
    document = openapi_text()

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=document, content_type=JSON)

    app.router.add_route("GET", "/openapi.json", openapi)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(_end_streams)
    return app


def _handler(
    gateway: Gateway, gate: Gate, route: Route
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        identity = NOBODY if route.scope == "public" else await gate.admit(request, route.scope)
        query = read_query(request.query, route.parameters)
        return await route.handle(gateway, Call(request, identity, query))

    return handle


def _measured(gateway: Gateway) -> Middleware:
    clock, metrics = gateway.process.clock, gateway.process.metrics

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = clock.monotonic()
        status = GONE
        try:
            response = await handler(request)
            status = str(response.status)
            return response
        finally:
            resource = request.match_info.route.resource
            # Labels that clients could make up would grow without an end.
            metrics.observe(
                "penstock_http_request_seconds",
                clock.monotonic() - started,
                route="none" if resource is None else resource.canonical,
                method=request.method if request.method in ("GET", "POST") else "other",
                status=status,
            )

    return measure


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """All of it is of one moment and of one tenant: nothing is to be cached, sniffed or framed."""
    headers = response.headers
    headers["Server"] = "penstock"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    headers.setdefault("Cache-Control", "no-store")


async def _end_streams(app: web.Application) -> None:
    streams = app[STREAMS]
    for task in list(streams):
        task.cancel()
