"""A server is away: what is still answered, what is not, and that nothing accepted is lost (protocol §1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4, uuid7
from penstock.events import topics
from penstock.store import requests
from penstock_services.gateway.routes import ROUTES
from penstock_services.gateway.routing import Route

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

ONE = {"jobs": {"a": {"executor": "noop"}}}
LARGE = {"jobs": {f"job-{n}": {"run": "x" * 200} for n in range(400)}}
READS = [route for route in ROUTES if route.scope != "public" and route.path != "/v1/lint"]


@pytest.fixture
async def no_postgres(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres goes away after the token `acme` was seen to be good."""
    await house.get("/v1/pipelines?limit=1")

    async def run(*_: Any, **__: Any) -> Any:
        raise RetryLater("postgres: connection refused", component="postgres")

    monkeypatch.setattr(house.gateway.pool, "run", run)


def requested(house: House) -> dict[str, Any]:
    (record,) = house.bus.records(topics.PIPELINES_REQUESTED.name)
    found: dict[str, Any] = orjson.loads(record.value or b"")
    return found


@pytest.mark.usefixtures("no_postgres")
async def test_kafka_alone(house: House) -> None:
    """No id is told: the key may mean an older pipeline."""
    key = f"outage/{uuid4()}"
    told = await house.post("/v1/pipelines", {"definition": ONE, "request_id": key}, 202)
    url = "/v1/requests/" + key.replace("/", "%2F")
    assert told == {"request_id": key, "state": "RECEIVED", "url": url}
    assert "pipeline_id" not in requested(house)
    known = await house.until(lambda: requests.known(house.db, [("acme", key)]))
    assert known["acme", key]["state"] == "ACCEPTED"


@pytest.mark.usefixtures("no_postgres")
async def test_kafka_alone_with_a_clients_id(house: House) -> None:
    chosen = uuid7(time.time())
    told = await house.post("/v1/pipelines", {"definition": ONE, "pipeline_id": chosen}, 202)
    assert told["pipeline_id"] == chosen == requested(house)["pipeline_id"]
    assert told["url"] == f"/v1/pipelines/{chosen}"


@pytest.mark.usefixtures("no_postgres")
async def test_both_away(house: House) -> None:
    house.bus.away = True
    async with await house.call("POST", "/v1/pipelines", json={"definition": ONE}) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert (await response.json(content_type=None))["type"] == "urn:penstock:problem:unavailable"


@pytest.mark.usefixtures("no_postgres")
async def test_a_token_that_was_not_seen_lately(house: House) -> None:
    async with await house.call("POST", "/v1/pipelines", token="rival", json={"definition": ONE}) as response:
        assert response.status == 503
    assert house.bus.records(topics.PIPELINES_REQUESTED.name) == []


@pytest.mark.usefixtures("no_postgres")
async def test_bad_requests_are_refused_all_the_same(house: House) -> None:
    await house.post("/v1/pipelines", {"definition": {}}, 422)
    assert (await house.post("/v1/lint", {"definition": ONE}, 200))["levels"] == 1


@pytest.mark.usefixtures("no_postgres")
@pytest.mark.parametrize(
    "route", [one for one in READS if one.method == "GET" or "cancel" in one.path], ids=lambda one: one.name
)
async def test_reads_and_cancels_wait(house: House, route: Route) -> None:
    path = route.path.replace("{id}", uuid4()).replace("{key}", "k")
    async with await house.call(route.method, path) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]


async def test_storage_away(house: House) -> None:
    house.objects.away = True
    await house.post("/v1/pipelines", {"definition": ONE})
    await house.post("/v1/pipelines", {"definition": LARGE}, 503)
    await house.post("/v1/definitions", ONE, 503)
    await house.post("/v1/pipelines", {"definition_ref": {"sha256": "0" * 64}}, 503)
    assert len(house.bus.records(topics.PIPELINES_REQUESTED.name)) == 1


async def test_postgres_goes_away_after_it_kept_the_request(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is there, its answer is lost: Kafka's record and the row are one request."""
    key = f"torn/{uuid4()}"
    pool = house.gateway.pool
    whole = pool.run

    async def torn(function: Any, *args: Any, **more: Any) -> Any:
        answer = await whole(function, *args, **more)
        if function is requests.receive:
            raise RetryLater("postgres: server closed the connection", component="postgres")
        return answer

    monkeypatch.setattr(pool, "run", torn)
    await house.post("/v1/pipelines", {"definition": ONE, "request_id": key}, 202)
    await house.until(lambda: requests.known(house.db, [("acme", key)])["acme", key]["state"] == "ACCEPTED")
    monkeypatch.undo()
    again = await house.post("/v1/pipelines", {"definition": ONE, "request_id": key}, 200)
    assert (await house.get(again["url"]))["state"] == "PENDING"
