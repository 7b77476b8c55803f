"""Calls of the client, and what their failures mean."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest
from tests.unit.client.fake_gateway import (
    AGAIN,
    PIPELINE,
    TOKEN,
    FakeGateway,
    job,
    job_id,
    lines,
    pipeline,
    status,
)

from penstock.client import Busy, Client, Refused
from penstock.core.errors import Problem, RejectInput, RetryLater, StopProcess


def test_a_submission_leaves_out_what_was_not_given(gateway: FakeGateway, client: Client) -> None:
    receipt = client.submit("key-1", definition_yaml="jobs: {}", priority=None, inputs={"a": "b"})
    assert receipt["pipeline_id"] == PIPELINE
    ((method, path, body),) = gateway.calls
    assert (method, path) == ("POST", "/v1/pipelines")
    assert json.loads(body) == {"definition_yaml": "jobs: {}", "inputs": {"a": "b"}}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [({}, {}), ({"failed": True}, {"failed": True}), ({"from_job": job_id(2)}, {"from": job_id(2)})],
)
def test_a_rerun_says_what_of_it(
    asked: dict[str, Any], sent: dict[str, Any], gateway: FakeGateway, client: Client
) -> None:
    gateway.pipelines[PIPELINE] = pipeline("FAILED")
    receipt = client.rerun(PIPELINE, key="k", **asked)
    assert (receipt["pipeline_id"], receipt["request_id"], receipt["rerun_of"]) == (AGAIN, "k", PIPELINE)
    ((method, path, body),) = gateway.calls
    assert (method, path, json.loads(body)) == ("POST", f"/v1/pipelines/{PIPELINE}/rerun", sent)


def test_attempts_come_with_the_jobs_if_they_are_wanted(gateway: FakeGateway, client: Client) -> None:
    client.jobs(PIPELINE)
    client.jobs(PIPELINE, attempts=True)
    path = f"/v1/pipelines/{PIPELINE}/jobs"
    assert [call[1] for call in gateway.calls] == [path, f"{path}?attempts=1"]


def test_pages_are_fetched_as_far_as_they_are_needed(gateway: FakeGateway, client: Client) -> None:
    for number in range(250):
        gateway.pipelines[str(number)] = pipeline(pipeline_id=str(number))
    assert [found["pipeline_id"] for found in client.pipelines(limit=130)] == [str(n) for n in range(130)]
    assert [path for _, path, _ in gateway.calls] == [
        "/v1/pipelines?limit=100",
        "/v1/pipelines?limit=30&cursor=100",
    ]


def test_filters_are_passed_on(gateway: FakeGateway, client: Client) -> None:
    assert list(client.pipelines(states=("FAILED", "CANCELLED"), branch="a/b&c")) == []
    assert gateway.calls[0][1] == "/v1/pipelines?state=FAILED&state=CANCELLED&branch=a%2Fb%26c&limit=20"


def test_a_refusal_carries_its_problems(gateway: FakeGateway, client: Client) -> None:
    fault = {"message": "no such job", "path": "jobs.a", "line": 3, "column": 5, "hint": "b?"}
    gateway.answers.append((422, {"type": "urn:penstock:problem:invalid", "detail": "x", "errors": [fault]}))
    with pytest.raises(Refused) as caught:
        client.submit(definition_yaml="x")
    assert (caught.value.status, caught.value.kind) == (422, "invalid")
    assert caught.value.problems == (Problem("no such job", "jobs.a", 3, 5, "b?"),)


def test_a_refusal_without_problems_tells_its_detail(gateway: FakeGateway, client: Client) -> None:
    with pytest.raises(Refused, match="there is no such pipeline") as caught:
        client.pipeline(PIPELINE)
    assert caught.value.status == 404


def test_a_bad_token_is_a_matter_of_configuration(gateway: FakeGateway) -> None:
    with pytest.raises(Refused, match="token is unknown") as caught:
        Client(gateway.url, "bad").pipeline(PIPELINE)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_gateway_may_be_asked_again(code: int, gateway: FakeGateway, client: Client) -> None:
    gateway.answers.append((code, {"detail": "postgres does not answer"}))
    with pytest.raises(Busy, match="postgres does not answer"):
        client.pipeline(PIPELINE)


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RetryLater, match="connection refused") as caught:
            Client(url, "x").pipeline(PIPELINE)
    assert caught.value.component == "gateway"


def test_of_several_gateways_the_next_is_asked_when_one_is_away(gateway: FakeGateway) -> None:
    with FakeGateway() as other:
        gateway.pipelines[PIPELINE] = other.pipelines[PIPELINE] = pipeline()
        client = Client(f"{gateway.url}, {other.url}", TOKEN)
        assert client.url == f"{gateway.url},{other.url}"
        client.pipeline(PIPELINE)
        gateway.stop()
        client.pipeline(PIPELINE)
        gateway.start()
        client.pipeline(PIPELINE)
        assert (len(gateway.calls), len(other.calls)) == (1, 2), "it stays with the one that answers"
        gateway.stop()
        other.stop()
        with pytest.raises(RetryLater, match="connection refused"):
            client.pipeline(PIPELINE)


def test_somebody_else_listens(gateway: FakeGateway) -> None:
    with pytest.raises(StopProcess, match="not a Penstock gateway"):
        Client(f"{gateway.url}/elsewhere", "good-token").pipeline(PIPELINE)


NO_URLS = [
    "ftp://host",
    "http://",
    "http://host:port",
    "",
    "http://host,",
    "http://[::1",
    "http://[host]",
    "http://" + "a" * 64 + ".example.org",
    "http://a..b",
    "http://ho st",
    "http://ho\nst",
    "http://host/a b",
    "http://host/\u00e4",
    "http://host/a\u00a0b",
    "http://h\u2100st",
    "http://host/?query",
    "http://host/#fragment",
    "http://secret@host",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(RejectInput, match="is not the URL of a gateway") as caught:
        Client(url, "x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://[::ab]", "::ab", 80),
        ("https://[::1]/ci", "::1", 443),
        ("http://[::1]:0", "::1", 0),
        ("b\u00fccher.example.org", "b\u00fccher.example.org", 80),
    ],
)
def test_hosts_of_all_forms(url: str, host: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def connect(connection: http.client.HTTPConnection) -> None:
        asked.append((connection.host, connection.port))
        raise OSError("network is unreachable")

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    monkeypatch.setattr(http.client.HTTPSConnection, "connect", connect)
    with pytest.raises(RetryLater, match="network is unreachable"):
        Client(url, "x").pipeline(PIPELINE)
    assert asked == [(host, port)]


@pytest.mark.parametrize("token", ["secret\n", "sec\r\nret", "secr\u00e9t", "secret\u2028", "secret\0"])
def test_what_is_no_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(RejectInput, match=r"the token has .* PENSTOCK_TOKEN") as caught:
        Client("http://host", token)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize("key", ["a\nb", "sch\u00f6n", "\u4e2d"])
def test_a_key_that_no_header_can_have_is_refused(gateway: FakeGateway, client: Client, key: str) -> None:
    with pytest.raises(RejectInput, match="cannot be sent as Idempotency-Key"):
        client.submit(key, definition_yaml="jobs: {}")
    assert gateway.calls == []


def test_a_url_may_lack_its_scheme(gateway: FakeGateway) -> None:
    gateway.pipelines[PIPELINE] = pipeline()
    assert Client(gateway.url.removeprefix("http://"), "good-token").pipeline(PIPELINE)["name"] == "demo"


def test_events_have_a_cursor_each(gateway: FakeGateway, client: Client) -> None:
    records = [status(1, "PENDING"), status(2, "RUNNING"), status(3, "SUCCESS")]
    gateway.emit(*records)
    assert list(client.events(PIPELINE)) == [("1", records[0]), ("2", records[1]), ("3", records[2])]
    assert [record["version"] for _, record in client.events(PIPELINE, "2")] == [3]


def test_a_log_without_follow_ends_with_what_there_is(gateway: FakeGateway, client: Client) -> None:
    gateway.jobs[PIPELINE] = [job(1, "a", "RUNNING")]
    gateway.write(1, *lines("one", "two")[:2])
    found = [record for batch in client.log(job_id(1)) for record in batch]
    assert [record["text"] for record in found if "end" not in record] == ["one", "two"]


def test_a_record_that_is_no_json_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: Any, **__: Any) -> Any:
        class Body:
            def batches(self) -> Any:
                yield [b"{"]

        return Body()

    monkeypatch.setattr("penstock.client.wire.Wire.stream", answer)
    with pytest.raises(StopProcess, match="is not JSON"):
        list(client.log(job_id(1)))
