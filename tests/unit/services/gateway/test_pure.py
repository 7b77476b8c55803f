"""Cursors, levels, forms of a log, queries: what needs no server."""

from __future__ import annotations

import base64
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from penstock.core.errors import RejectInput
from penstock.core.ids import uuid4
from penstock_services.gateway.cursors import (
    event_cursor,
    page_cursor,
    read_event_cursor,
    read_page_cursor,
)
from penstock_services.gateway.formats import as_events, as_text, choose, first_lines
from penstock_services.gateway.levels import levels
from penstock_services.gateway.routes.events import Sent
from penstock_services.gateway.routing import Parameter, read_query
from penstock_services.gateway.sse import event

AT = "2026-11-22T08:00:00.000001Z"


def test_cursors_come_back() -> None:
    pipeline_id = uuid4()
    assert read_page_cursor(page_cursor(AT, pipeline_id)) == (AT, pipeline_id)
    assert read_event_cursor(event_cursor(AT)) == AT


@given(st.text())
def test_what_is_no_cursor(text: str) -> None:
    assert read_event_cursor(text) == ""
    with pytest.raises(RejectInput):
        read_page_cursor(text)


def test_levels_are_longest_paths() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")]
    random.Random(1).shuffle(edges)
    assert levels("abcde", edges) == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 0}


@pytest.mark.parametrize(
    ("accept", "content"),
    [
        ("", "application/x-ndjson"),
        ("text/html, */*;q=0.8", "application/x-ndjson"),
        ("text/plain", "text/plain"),
        ("TEXT/EVENT-STREAM", "text/event-stream"),
        ("application/*;q=0.2, text/*", "text/plain"),
        ("text/html", None),
        ("text/plain;q=0", None),
    ],
)
def test_accept(accept: str, content: str | None) -> None:
    assert choose(accept) == content


@given(st.lists(st.tuples(st.binary(max_size=20), st.booleans()), max_size=20))
def test_text_is_what_was_printed(printed: list[tuple[bytes, bool]]) -> None:
    lines = b""
    for seq, (raw, part) in enumerate(printed, 1):
        line = {"seq": seq, "ts": 1, "stream": "stdout", "text": raw.decode("utf-8", "replace")}
        if line["text"] != raw.decode("utf-8", "ignore"):
            line["raw"] = base64.b64encode(raw).decode()
        lines += orjson.dumps({**line, "part": part} if part else line) + b"\n"
    if lines:
        assert as_text(lines) == b"".join(raw if part else raw + b"\n" for raw, part in printed)


@pytest.mark.parametrize("odd", [b"nonsense", b"{}", b'{"seq": "x"}', b'{"raw": "?", "text": "x"}', b"\xff"])
def test_lines_that_are_not_what_they_should_be(odd: bytes) -> None:
    assert as_text(odd + b"\n").endswith(b"\n")
    assert as_events(odd + b"\n").endswith(b"\n\n")
    assert as_events(odd + b"\n").count(b"data: ") == 1


def test_first_lines() -> None:
    assert first_lines(b"a\nb\nc\n", 2) == b"a\nb\n"
    assert first_lines(b"a\nb\n", 2) == b"a\nb\n"
    assert first_lines(b"a\nb\n", 0) == b""


@given(st.binary())
def test_an_event_is_one_event(data: bytes) -> None:
    written = event(data, kind="x", cursor="1")
    assert written.count(b"\n") == 4
    assert b"\r" not in written


def test_versions_are_sent_once() -> None:
    sent = Sent()
    assert [sent.add("a", version) for version in (1, 3, 1, 2, 3)] == [True, True, False, True, False]
    assert sent.add("b", 2)
    assert sent.pulse() == 5


def test_all_that_is_wrong_with_a_query() -> None:
    parameters = (
        Parameter("limit", "", "integer", 5, 1, 10),
        Parameter("follow", "", "flag", default=False),
        Parameter("state", "", choices=("A", "B"), repeated=True),
        Parameter("X-Header", "", place="header"),
    )
    assert read_query(MultiDict(), parameters) == {"limit": 5, "follow": False, "state": []}
    good = MultiDict([("state", "A"), ("state", "B"), ("limit", "10"), ("follow", "")])
    assert read_query(good, parameters) == {"limit": 10, "follow": True, "state": ["A", "B"]}
    bad = MultiDict(
        [("state", "C"), ("limit", "1_0"), ("follow", "maybe"), ("limits", "1"), ("X-Header", "1")]
    )
    with pytest.raises(RejectInput) as caught:
        read_query(bad, parameters)
    assert {problem.path for problem in caught.value.problems} == set(bad)
