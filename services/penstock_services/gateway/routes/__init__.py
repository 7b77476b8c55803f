"""The calls of the API, a module a subject; each module's ROUTES declare them."""

from typing import Final

from penstock_services.gateway.routes import (
    cancels,
    definitions,
    dispatch,
    events,
    jobs,
    logs,
    meta,
    pipelines,
    reruns,
)
from penstock_services.gateway.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *pipelines.ROUTES,
    *events.ROUTES,
    *cancels.ROUTES,
    *reruns.ROUTES,
    *jobs.ROUTES,
    *dispatch.ROUTES,
    *logs.ROUTES,
    *definitions.ROUTES,
    *meta.ROUTES,
)
