"""About the gateway itself: what it offers, whether it works."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.routing import TEXT, Answer, Call, Route, reply


async def index(gateway: Gateway, _call: Call) -> web.StreamResponse:
    """GET /."""
    links = {
        "pipelines": "/v1/pipelines",
        "workers": "/v1/workers",
        "openapi": "/openapi.json",
        "health": "/healthz",
        "readiness": "/readyz",
        "metrics": "/metrics",
    }
    return reply({"name": "penstock", "instance": gateway.process.instance, "links": links})


async def healthz(gateway: Gateway, _call: Call) -> web.StreamResponse:
    """GET /healthz: the loop goes round."""
    return _state(gateway.process.is_alive(), "ok", "stuck")


async def readyz(gateway: Gateway, _call: Call) -> web.StreamResponse:
    """GET /readyz: this process is ready, whatever its neighbours are."""
    return _state(gateway.process.is_ready(), "ready", "starting")


async def metrics(gateway: Gateway, _call: Call) -> web.StreamResponse:
    """GET /metrics."""
    return web.Response(
        body=gateway.process.metrics.text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
    )


def _state(good: bool, yes: str, no: str) -> web.Response:  # noqa: FBT001 - a probe's answer
    return web.Response(status=200 if good else 503, text=f"{yes if good else no}\n")


_PROBE: Final = {200: Answer("Yes.", content=(TEXT,))}

ROUTES: Final = (
    Route("GET", "/", index, "Where things are.", {200: Answer("Links.", dict[str, Any])}, scope="public"),
    Route("GET", "/healthz", healthz, "Is it alive?", _PROBE, scope="public", problems=(503,)),
    Route("GET", "/readyz", readyz, "Is it ready?", _PROBE, scope="public", problems=(503,)),
    Route(
        "GET", "/metrics", metrics, "Metrics for Prometheus.", {200: Answer("Text format.", content=(TEXT,))},
        scope="public",
    ),
)  # fmt: skip
