"""Bodies that are wrong in every way: a 4xx that says what and where, and nothing is received."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from penstock.events import topics

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import House

JSON = {"Content-Type": "application/json"}
FILE = {"Content-Type": "application/yaml"}
ONE = {"jobs": {"a": {"executor": "noop"}}}


def request(**more: Any) -> bytes:
    return orjson.dumps({"definition": ONE, **more})


DEEP = b'{"definition":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001
BAD_JSON: list[tuple[bytes, int, str]] = [
    (b"", 400, ""),
    (b"  \n", 400, ""),
    (b"{", 400, ""),
    (b'{"a": 1,}', 400, ""),
    (b"nonsense", 400, ""),
    (b"\xff\xfe{\x00}\x00", 400, ""),
    (b'{"definition": "\xff"}', 400, ""),
    (b'{"request_id": "\\ud800"}', 400, ""),
    (b'{"a": NaN}', 400, ""),
    (b"[" * 100_000, 400, ""),
    (DEEP, 400, ""),
    (b"[]", 422, ""),
    (b"null", 422, ""),
    (b'"text"', 422, ""),
    (b"{}", 422, "definition"),
    (request(definition=None), 422, "definition"),
    (request(definition=[]), 422, "definition"),
    (request(definition="jobs: {}"), 422, "definition"),
    (request(definition_yaml="jobs: {a: {run: x}}"), 422, "definition"),
    (request(definition={}), 422, ""),
    (request(definition={"jobs": {}}), 422, "jobs"),
    (request(definition={"jobs": {"a": {"run": "x", "needs": ["b"]}}}), 422, "jobs.a.needs[0]"),
    (b'{"definition": {"jobs": {"a": {"run": "x\\u0000"}}}}', 422, "jobs.a.run"),
    (b'{"definition": {"jobs": {"a": {"retry": {"max": 100000000000000000000000}}}}}', 422, ""),
    (request(tenant=5), 422, "tenant"),
    (request(request_id="x" * 129), 422, "request_id"),
    (request(request_id="a\nb"), 422, "request_id"),
    (b'{"definition": {}, "request_id": "\\u0000"}', 422, "request_id"),
    (request(pipeline_id="x"), 422, "pipeline_id"),
    (request(pipeline_id="00000000-0000-4000-8000-000000000000"), 422, "pipeline_id"),
    (request(priority="urgent"), 422, "priority"),
    (request(priority=0), 422, "priority"),
    (request(priority=True), 422, "priority"),
    (request(priority=1.5), 422, "priority"),
    (request(trigger="cron"), 422, "trigger"),
    (request(git="main"), 422, "git"),
    (request(git={"sha": "abc"}), 422, "git.sha"),
    (request(git={"sha": 5}), 422, "git.sha"),
    (request(git={"branch": "b" * 2_000}), 422, "git.branch"),
    (b'{"definition": {}, "git": {"repo": "\\u0000"}}', 422, "git.repo"),
    (request(inputs={"a": 1}), 422, "inputs[...]"),
    (request(inputs=["a"]), 422, "inputs"),
    (request(env={"1 x": "a"}), 422, 'env["1 x"]'),
    (b'{"definition": {"jobs": {"a": {"run": "x"}}}, "env": {"A": "\\u0000"}}', 422, "env.A"),
    (request(priorty="high"), 422, "priorty"),
    (request(definition=None, definition_ref={"sha256": "x"}), 422, "definition_ref.sha256"),
    (request(definition=None, definition_ref={"sha256": "0" * 64}), 422, "definition_ref.sha256"),
    (request(definition=None, definition_ref={}), 422, "definition_ref"),
    (request(definition=None, definition_yaml=5), 422, "definition_yaml"),
    (request(git={"message": "m" * 1_100_000}), 413, ""),
    (request(definition=None, definition_yaml="#" * 600_000), 413, ""),
]
BAD_YAML: list[tuple[bytes, str, int, str]] = [
    (b"", "", 422, ""),
    (b"jobs: [", "", 422, ""),
    (b"jobs:\n\ta: 1\n", "", 422, ""),
    (b"\xff\xfejobs", "", 422, ""),
    (b"jobs: {a: {run: 'x\x00'}}", "", 422, ""),
    (b"a: &a [*a, *a]", "", 422, ""),
    (b"--- 1\n--- 2\n", "", 422, ""),
    (b"jobs: {a: {run: x}, a: {run: y}}", "", 422, "jobs.a"),
    (b"jobs: {a: {run: x}}", "priority=11", 422, "priority"),
    (b"jobs: {a: {run: x}}", "trigger=cron", 422, "trigger"),
    (b"jobs: {a: {run: x}}", "sha=abc", 422, "git.sha"),
    (b"jobs: {a: {run: x}}", "input=a", 422, "input"),
    (b"jobs: {a: {run: x}}", "input==a", 422, "input"),
    (b"jobs: {a: {run: x}}", "input=a=1&input=a=2", 422, "input"),
    (b"jobs: {a: {run: x}}", "branch=a&branch=b", 422, "branch"),
    (b"jobs: {a: {run: x}}", "prioriti=1", 422, "prioriti"),
    (b"x" * (512 * 1024 + 1), "", 413, ""),
]


async def refused(house: House, path: str, status: int, **more: Any) -> dict[str, Any]:
    async with await house.call("POST", path, **more) as response:
        told: dict[str, Any] = await response.json(content_type=None)
        assert response.status == status, told
        assert response.headers["Content-Type"].startswith("application/problem+json")
        assert "Traceback" not in str(told)
    assert house.bus.records(topics.PIPELINES_REQUESTED.name) == []
    return told


@pytest.mark.parametrize(("body", "status", "path"), BAD_JSON)
async def test_json(house: House, body: bytes, status: int, path: str) -> None:
    told = await refused(house, "/v1/pipelines", status, data=io.BytesIO(body), headers=JSON)
    if path:
        assert path in [error.get("path") for error in told["errors"]]


@pytest.mark.parametrize(("body", "query", "status", "path"), BAD_YAML)
async def test_yaml(house: House, body: bytes, query: str, status: int, path: str) -> None:
    told = await refused(house, f"/v1/pipelines?{query}", status, data=body, headers=FILE)
    if path:
        assert path in [error.get("path") for error in told["errors"]]


async def test_where_it_is_wrong(house: House) -> None:
    text = "jobs:\n  test:\n    run: make\n    need: [build]\n  other:\n    runs-on: [1, 2]\n    run: x\n"
    told = await refused(house, "/v1/pipelines", 422, data=text, headers=FILE)
    first = told["errors"][0]
    assert (first["line"], first["column"], first["path"]) == (4, 5, "jobs.test.need")
    assert "needs" in first["hint"]
    inside = await refused(house, "/v1/pipelines", 422, json={"definition_yaml": text})
    assert inside["errors"] == told["errors"]
    broken = await refused(house, "/v1/pipelines", 400, data=b'{\n "a": 1,\n "b": x}', headers=JSON)
    assert (broken["errors"][0]["line"], broken["errors"][0]["column"]) == (3, 7)


async def test_a_cycle_is_shown(house: House) -> None:
    cycle = {"jobs": {"a": {"run": "x", "needs": ["b"]}, "b": {"run": "x", "needs": ["a"]}}}
    told = await refused(house, "/v1/pipelines", 422, json={"definition": cycle})
    assert "a" in told["detail"]
    assert "b" in told["detail"]


@pytest.mark.parametrize("content", ["text/plain", "application/x-www-form-urlencoded", "nonsense", ""])
async def test_content_types(house: House, content: str) -> None:
    await refused(house, "/v1/pipelines", 415, data=request(), headers={"Content-Type": content})


async def test_fields_of_a_json_body_do_not_stand_in_the_query(house: House) -> None:
    told = await refused(house, "/v1/pipelines?priority=high", 422, data=request(), headers=JSON)
    assert told["errors"][0]["path"] == "priority"


@pytest.mark.parametrize("key", ["", " ", "x" * 129])
async def test_idempotency_keys(house: House, key: str) -> None:
    await refused(house, "/v1/pipelines", 422, data=request(), headers={**JSON, "Idempotency-Key": key})


async def test_a_huge_body_is_refused_before_it_is_read(house: House) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 65_536

    told = await refused(house, "/v1/pipelines", 413, data=endless(), headers=JSON)
    assert "larger than" in told["detail"]


async def test_a_bomb_is_refused_by_what_it_unpacks_to(house: House) -> None:
    bomb = gzip.compress(b" " * 64 * 1024 * 1024)
    headers = {**JSON, "Content-Encoding": "gzip"}
    await refused(house, "/v1/pipelines", 413, data=bomb, headers=headers)
    await refused(house, "/v1/pipelines", 400, data=b"no gzip", headers=headers)


@pytest.mark.parametrize("path", ["/v1/lint", "/v1/definitions"])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[]", JSON, 422),
        (b'{"jobs": {}}', JSON, 422),
        (b"jobs: [", FILE, 422),
        (b"\xff", FILE, 422),
        (b"x", {}, 415),
    ],
)
async def test_other_doors(
    house: House, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    await refused(house, path, status, data=body, headers=headers)


async def test_a_definition_that_is_good(house: House) -> None:
    told = await house.post(
        "/v1/lint", {"definition": {"jobs": {"b": {"run": "x", "needs": ["a"]}, "a": {"run": "x"}}}}, 200
    )
    assert [(job["name"], job["level"], job["needs"]) for job in told["jobs"]] == [
        ("a", 0, []),
        ("b", 1, ["a"]),
    ]
    assert (told["edges"], told["levels"]) == (1, 2)
    assert await house.post("/v1/lint", ONE, 200, token="reader")
    assert house.bus.records(topics.PIPELINES_REQUESTED.name) == []
