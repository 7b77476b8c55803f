"""How pipelines and jobs are named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.fake_gateway import PIPELINE, TOKEN, FakeGateway, job, job_id, pipeline

from penstock.cli.reference import JobReference, find_job, find_pipeline, parse_job, parse_pipeline
from penstock.client import Client
from penstock.core.errors import RejectInput

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as gateway:
        gateway.pipelines[PIPELINE] = pipeline()
        yield gateway


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client(gateway.url, TOKEN)


def jobs(gateway: FakeGateway, *names: str) -> None:
    found: list[dict[str, Any]] = [job(number, name) for number, name in enumerate(names, 1)]
    gateway.jobs[PIPELINE] = found


@given(NAMES)
def test_all_behind_the_first_slash_is_the_name(name: str) -> None:
    assert parse_job(f"last/{name}") == JobReference(pipeline="last", name=name)
    assert parse_job(f"{PIPELINE.upper()}/{name}") == JobReference(pipeline=PIPELINE, name=name)


def test_a_bare_id_is_a_job() -> None:
    assert parse_job(f" {job_id(1).upper()} ") == JobReference(job_id=job_id(1))


@pytest.mark.parametrize("text", ["", "test", "last", "last/", "123/test", "/test"])
def test_what_names_no_job_is_refused(text: str) -> None:
    with pytest.raises(RejectInput):
        parse_job(text)


@pytest.mark.parametrize("text", ["", "latest", "0190"])
def test_what_names_no_pipeline_is_refused(text: str) -> None:
    with pytest.raises(RejectInput, match="is not a pipeline"):
        parse_pipeline(text)


def test_last_is_the_newest(client: Client) -> None:
    assert find_pipeline(client, "LAST") == PIPELINE


def test_there_may_be_none(gateway: FakeGateway, client: Client) -> None:
    gateway.pipelines.clear()
    with pytest.raises(RejectInput, match="no pipeline yet"):
        find_pipeline(client, "last")


@pytest.mark.parametrize("name", ["a/b/c", "ü", "日本 (1/3)", " blank ", "test"])
def test_a_job_is_found_by_any_name(name: str, gateway: FakeGateway, client: Client) -> None:
    jobs(gateway, "other", name)
    assert find_job(client, f"last/{name}")["job_id"] == job_id(2)


def test_two_ways_to_write_a_letter_are_one(gateway: FakeGateway, client: Client) -> None:
    jobs(gateway, "\u00fc")
    assert find_job(client, "last/u\u0308")["name"] == "\u00fc"


def test_an_unknown_job_gets_a_suggestion(gateway: FakeGateway, client: Client) -> None:
    jobs(gateway, "unit-tests", "lint")
    with pytest.raises(RejectInput, match="did you mean 'unit-tests'"):
        find_job(client, "last/unit-test")
    with pytest.raises(RejectInput, match="it has unit-tests, lint"):
        find_job(client, "last/zzzzzz")
