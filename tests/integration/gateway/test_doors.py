"""Who may do what: tokens, scopes, tenants; what nobody may; what every answer carries."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from penstock.core.ids import uuid4
from penstock.store import tenants
from penstock_services.gateway.openapi import document
from penstock_services.gateway.routes import ROUTES
from penstock_services.gateway.routing import Route

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

ONE = {"jobs": {"a": {"executor": "noop"}}}
WITH_ID = [route for route in ROUTES if "{" in route.path]
OWN = [route for route in ROUTES if route.scope != "public"]


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def filled(route: Route, value: str) -> str:
    return re.sub(r"{\w+}", value, route.path)


async def answer(house: House, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
    async with await house.call(method, path, **more) as response:
        assert response.headers["Content-Type"].startswith("application/problem+json"), await response.text()
        body = await response.json(content_type=None)
        assert {"type", "title", "status", "detail"} <= set(body)
        assert body["status"] == response.status
        return response.status, body


@pytest.mark.parametrize("route", WITH_ID, ids=name)
async def test_anothers_is_as_if_absent(house: House, route: Route) -> None:
    """The very same answer, but for the id that was asked for."""
    pipeline = await house.submit(ONE, request_id=uuid4())
    job_id = (await house.jobs_of(pipeline))["a"]["job_id"]
    key = (await house.get(f"/v1/pipelines/{pipeline}"))["request_id"]
    there = job_id if "jobs" in route.path.split("/")[2] else key if "{key}" in route.path else pipeline
    theirs = await answer(house, route.method, filled(route, there), token="rival")
    absent = await answer(house, route.method, filled(route, uuid4()), token="rival")
    assert theirs == absent
    assert theirs[0] == 404
    ours = await house.call(route.method, filled(route, there))
    # It has not ended, so it cannot be run again: that, too, only its owner is told.
    assert ours.status in ((409,) if route.path.endswith("/rerun") else (200, 202))


@pytest.mark.parametrize("route", [route for route in WITH_ID if "{id}" in route.path], ids=name)
@pytest.mark.parametrize("odd", ["x", "%00", "0" * 32, "..%2Fx", "%F0%9F%92%A9", "%ff", "'--", "null"])
async def test_ids_that_are_none(house: House, route: Route, odd: str) -> None:
    status, _ = await answer(house, route.method, filled(route, odd))
    assert status == 404


@pytest.mark.parametrize("odd", ["%00", "%ff", "x" * 200, "%F0%9F%92%A9", "a%2Fb"])
async def test_keys_that_name_nothing(house: House, odd: str) -> None:
    status, _ = await answer(house, "GET", f"/v1/requests/{odd}")
    assert status == 404


async def test_ids_in_capitals(house: House) -> None:
    pipeline = await house.submit(ONE)
    assert (await house.get(f"/v1/pipelines/{pipeline.upper()}"))["pipeline_id"] == pipeline


@pytest.mark.parametrize("route", OWN, ids=name)
async def test_without_a_token(house: House, route: Route) -> None:
    path = filled(route, uuid4())
    status, _ = await answer(house, route.method, path, token=None)
    assert status == 401
    response = await house.call(route.method, path, token="unknown")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", OWN, ids=name)
async def test_scopes(house: House, route: Route) -> None:
    lacking = "writer" if route.scope == "read" else "reader"
    status, body = await answer(house, route.method, filled(route, uuid4()), token=lacking)
    assert status == 403
    assert route.scope in body["detail"]
    assert (await house.call(route.method, filled(route, uuid4()), token="admin")).status != 403


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer " + "x" * 600, "Bearer a b", "Bearer \u00fc"]
)
async def test_what_is_no_token(house: House, header: str) -> None:
    status, _ = await answer(house, "GET", "/v1/pipelines", token=None, headers={"Authorization": header})
    assert status == 401


async def test_a_revoked_token_is_refused_at_once(house: House) -> None:
    token_id = tenants.add_token(house.db, "short-lived", tenant="acme", name="x", scopes=["read"])
    await house.get("/v1/pipelines", token="short-lived")
    tenants.revoke_token(house.db, token_id)
    await house.get("/v1/pipelines", 401, token="short-lived")


async def test_the_body_names_another_tenant(house: House) -> None:
    body = {"definition": ONE, "tenant": "rival"}
    status, _ = await answer(house, "POST", "/v1/pipelines", json=body)
    assert status == 403
    status, _ = await answer(
        house, "POST", "/v1/pipelines?tenant=rival", data="jobs: {a: {run: x}}",
        headers={"Content-Type": "application/yaml"},
    )  # fmt: skip
    assert status == 403
    await house.post("/v1/pipelines", {"definition": ONE, "tenant": "acme"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/pipelines", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/pipelines/", 404),
        ("GET", "/v1/../etc/passwd", 404),
        ("DELETE", "/v1/pipelines", 405),
        ("PUT", f"/v1/pipelines/{uuid4()}", 405),
        ("POST", "/healthz", 405),
        ("OPTIONS", "/v1/pipelines", 405),
        ("HEAD", "/v1/pipelines", 405),
        ("PROPFIND", "/v1/pipelines", 405),
    ],
)
async def test_what_is_not_there(house: House, method: str, path: str, status: int) -> None:
    response = await house.call(method, path, token=None)
    assert response.status == status
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert "Access-Control-Allow-Origin" not in response.headers
    if status == 405:
        assert response.headers["Allow"]


async def test_about_itself(house: House) -> None:
    assert (await house.get("/", token=None))["links"]["openapi"] == "/openapi.json"
    assert await house.get("/openapi.json", token=None) == document()
    assert (await house.call("GET", "/healthz", token=None)).status == 200
    assert (await house.call("GET", "/readyz", token=None)).status == 503
    house.gateway.process.ready()
    assert (await house.call("GET", "/readyz", token=None)).status == 200
    await house.get(f"/v1/pipelines/{uuid4()}", 404)
    metrics = await (await house.call("GET", "/metrics", token=None)).text()
    assert 'route="/v1/pipelines/{id}",status="404"' in metrics
    assert 'route="none"' not in metrics


async def test_workers(house: House) -> None:
    found = await house.get("/v1/workers?kind=logs")
    assert all("address" not in one for one in found["workers"])
    await house.get("/v1/workers?kind=gateway", 422)


@pytest.mark.parametrize(
    "sent",
    [
        b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/pipelines HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http(house: House, sent: bytes) -> None:
    port = int(house.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 "), head
    assert b"application/problem+json" in head
    assert b"aiohttp" not in head
    assert orjson.loads(body)["type"] == "urn:penstock:problem:malformed"
    writer.close()
    await writer.wait_closed()
