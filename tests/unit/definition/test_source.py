"""Definitions that come as objects, and how places and values are shown."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.errors import RejectInput
from penstock.definition import limits, load_json_object
from penstock.definition.source import describe, quote, show_path


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (None, "a definition is an object"),
        ([], "a definition is an object"),
        ("jobs", "a definition is an object"),
        ({"name": "\ud800"}, "surrogates not allowed"),
        ({"\udfff": 1}, "not JSON"),
        ({"name": "a\0b"}, "name: U+0000 is not allowed in text"),
        ({"jobs": {"a": {"steps": [{"run": "\0"}]}}}, "jobs.a.steps[0].run: U+0000 is not allowed in text"),
        ({"jobs": {"\0": {}}}, 'jobs["\\u0000"]: U+0000 is not allowed in a key'),
        ({"jobs": nested(300)}, "not JSON: Recursion limit reached"),
        ({"max": 2**70}, "not JSON: Integer exceeds 64-bit range"),
        ({1: 2}, "not JSON: Dict key must be str"),
        ({"a": b"x"}, "not JSON"),
        ({"a": "x" * limits.MAX_JSON_BYTES}, "16,777,216 is the limit"),
    ],
)
def test_refused(obj: object, problem: str) -> None:
    with pytest.raises(RejectInput) as caught:
        load_json_object(obj)
    assert problem in str(caught.value)


def test_text_that_only_looks_like_a_nul_is_taken() -> None:
    source = load_json_object({"name": "\\u0000"})
    assert source.data == {"name": "\\u0000"}
    assert source.max_jobs == 10_000
    assert source.position(("name",)) == (None, None)
    assert source.written(("x",), 3.1) == "3.1"


def test_paths() -> None:
    assert show_path(()) == ""
    assert show_path(("jobs", "test", "needs", 1)) == "jobs.test.needs[1]"
    assert show_path(("jobs", "unit tests", "run")) == 'jobs["unit tests"].run'
    assert show_path(("a\n", 0)) == '["a\\n"][0]'


def test_quoted_text_is_short_and_printable() -> None:
    assert quote('a"b\n') == '"a\\"b\\n"'
    assert len(quote("x" * 10_000)) == 82
    assert quote("\ud800") == '"?"'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"), (True, "true"), (5, "the number 5"), (2.5, "the number 2.5"),
        ("a", 'the text "a"'),
        ({}, "an object"), ([], "a list"), (float("inf"), "a number out of range"), (b"", "a bytes"),
        (10**6, "the number 1000000"),
    ],
)  # fmt: skip
def test_describe(value: object, words: str) -> None:
    assert describe(value) == words
