"""The three doors with plain clients: produce, consume status, tail logs."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from typing import Any

import orjson
import pytest

from penstock.core.ids import uuid4, uuid7
from penstock.core.states import JOB_TRANSITIONS, PIPELINE_TRANSITIONS

HELLO = """
name: hello
jobs:
  greet:
    steps:
      - run: |
          echo "hello from $CI_JOB_NAME"
          echo oops >&2
  after:
    needs: [greet]
    run: exit 3
  never:
    needs: [after]
    run: echo never
  tidy:
    needs: [after]
    if: failure()
    run: echo tidied
"""


def call(client: Any, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        client.stack.gateway.url + path,
        data=body,
        method=method,
        headers={"Authorization": f"Bearer {client.stack.token}", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_plain_producer_gets_its_pipeline_run(client: Any) -> None:
    key = uuid4()
    client.submit(HELLO, key)
    assert client.wait(key) == {key: "FAILED"}
    assert client.jobs(key) == {
        "greet": ("SUCCESS", None),
        "after": ("FAILED", "exit-code"),
        "never": ("SKIPPED", "dependency-failed"),
        "tidy": ("SUCCESS", None),
    }


def test_a_consumer_rebuilds_every_state_from_the_status_topics(client: Any) -> None:
    key = uuid4()
    client.submit(HELLO, key)
    client.wait(key)
    client.published()
    jobs: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for record in client.topic("penstock.jobs.status"):
        jobs[record["job_id"]][record["version"]] = record
    states = dict(client.db.rows("SELECT id::text, state FROM jobs"))
    assert {job: history[max(history)]["state"] for job, history in jobs.items()} == states
    for history in jobs.values():
        assert sorted(history) == list(range(1, len(history) + 1))
        for version, record in history.items():
            assert record["previous"] == (history[version - 1]["state"] if version > 1 else None)
            assert record["state"] in JOB_TRANSITIONS[record["previous"]]
    pipelines: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for record in client.topic("penstock.pipelines.status"):
        pipelines[record["pipeline_id"]][record["version"]] = record
    truth = dict(client.db.rows("SELECT id::text, state FROM pipelines"))
    assert {one: history[max(history)]["state"] for one, history in pipelines.items()} == truth
    for history in pipelines.values():
        for record in history.values():
            assert record["state"] in PIPELINE_TRANSITIONS[record["previous"]]


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/plain", "text/event-stream"])
def test_a_log_is_tailed_to_its_end(client: Any, wait_until: Any, accept: str) -> None:
    key = uuid4()
    client.submit(
        {"jobs": {"talk": {"run": "for i in 1 2 3; do echo line $i; sleep 0.2; done; printf 'no end'"}}}, key
    )
    wait_until(lambda: bool(client.jobs(key)))
    job = client.job_id(key, "talk")
    status, body = call(client, "GET", f"/v1/jobs/{job}/logs?follow=true", Accept=accept)
    assert status == 200
    if accept == "text/plain":
        assert body.decode() == "line 1\nline 2\nline 3\nno end"
        return
    if accept == "text/event-stream":
        blocks = [block for block in body.decode().split("\n\n") if "data:" in block]
        records = [json.loads(block.split("data:", 1)[1].splitlines()[0]) for block in blocks]
    else:
        records = [orjson.loads(line) for line in body.splitlines()]
    assert [record.get("text") for record in records[:-1]] == ["line 1", "line 2", "line 3", "no end"]
    assert [record["seq"] for record in records[:-1]] == [1, 2, 3, 4]
    assert records[3]["part"] is True
    assert (records[-1]["end"], records[-1]["last_seq"], records[-1]["state"]) == (True, 4, "SUCCESS")


def test_http_accepts_once_and_tells_of_conflicts(client: Any) -> None:
    key = uuid4()
    body = orjson.dumps({"definition": {"jobs": {"a": {"executor": "noop"}}}})
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    status, first = call(client, "POST", "/v1/pipelines", body, **headers)
    assert status == 201
    status, again = call(client, "POST", "/v1/pipelines", body, **headers)
    assert status == 200
    assert orjson.loads(first)["pipeline_id"] == orjson.loads(again)["pipeline_id"]
    other = orjson.dumps({"definition": {"jobs": {"b": {"executor": "noop"}}}})
    assert call(client, "POST", "/v1/pipelines", other, **headers)[0] == 409
    assert client.wait(key) == {key: "SUCCESS"}


def test_bad_yaml_over_http_has_a_line(client: Any) -> None:
    status, body = call(
        client,
        "POST",
        "/v1/pipelines",
        b"jobs:\n  a:\n    scirpt: x\n",
        **{"Content-Type": "application/yaml"},
    )
    assert status == 422
    places = [(problem["line"], problem["path"]) for problem in orjson.loads(body)["errors"]]
    assert (3, "jobs.a.scirpt") in places


def test_bad_requests_at_the_event_door_are_rejected_or_dead(client: Any, wait_until: Any) -> None:
    key = uuid4()
    client.submit({"jobs": {"a": {"run": "x", "needs": ["b"]}, "b": {"run": "x", "needs": ["a"]}}}, key)
    assert client.wait(key) == {key: "REJECTED"}
    errors = client.db.one("SELECT errors FROM pipelines WHERE request_id = %s", (key,))
    assert "a → b → a" in errors[0]["message"] or "b → a → b" in errors[0]["message"]
    client.produce("penstock.pipelines.requested", "default", b"not json")
    wait_until(lambda: b"not json" in client.raw("penstock.pipelines.requested.dlq"))


def test_large_definitions_travel_by_reference(client: Any) -> None:
    jobs = {f"job number {n} with a rather long name": {"executor": "noop"} for n in range(10_000)}
    body = orjson.dumps({"jobs": jobs})
    status, answer = call(client, "POST", "/v1/definitions", body, **{"Content-Type": "application/json"})
    assert status == 201
    key = uuid4()
    request = {"tenant": "default", "request_id": key, "definition_ref": orjson.loads(answer)}
    client.produce("penstock.pipelines.requested", "default", request)
    assert client.wait(key, seconds=120) == {key: "SUCCESS"}


def test_a_client_s_own_id_and_its_cancel(client: Any, wait_until: Any) -> None:
    mine, key = uuid7(time.time()), uuid4()
    client.submit(
        {"jobs": {"long": {"run": "sleep 1000"}, "next": {"run": "true", "needs": ["long"]}}},
        key,
        pipeline_id=mine,
    )
    wait_until(lambda: client.jobs(key).get("long") == ("RUNNING", None))
    client.produce("penstock.cancel.requested", mine, {"tenant": "default", "pipeline_id": mine})
    assert client.wait(key) == {key: "CANCELLED"}
    assert client.jobs(key) == {"long": ("CANCELLED", "cancelled"), "next": ("CANCELLED", "cancelled")}
