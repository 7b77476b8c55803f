"""Names of jobs."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.definition import check, load_json_object
from penstock.definition.names import fault_in, normalize, too_long

names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)


@pytest.mark.parametrize(
    "name", ["a", "x" * 1024, "é" * 512, "build / test (3.11, ubuntu)", " ", "\u200b", "../..", "'; --"]
)
def test_good(name: str) -> None:
    assert fault_in(name) == ""


@pytest.mark.parametrize("name", ["", "x" * 1025, "é" * 513, "a\n", "\t", "\x7f", "\x85", "a\x00b"])
def test_faulty(name: str) -> None:
    assert fault_in(name)


@settings(deadline=None)
@given(names)
def test_every_such_name_is_a_job_that_others_can_need(name: str) -> None:
    needing = name + "!"
    composed, split = unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)
    source = load_json_object(
        {"jobs": {composed: {"executor": "noop"}, needing: {"executor": "noop", "needs": split}}}
    )
    definition = check(source)
    assert definition.edges == [(0, 1)]
    assert [job.name for job in definition.jobs] == [composed, needing]


@settings(deadline=None)
@given(st.text(max_size=30), st.integers(0, 60))
def test_length_is_counted_in_bytes(text: str, limit: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return
    assert too_long(text, limit) == (size > limit)


def test_normalize() -> None:
    assert normalize("e\u0301") == "é"
    assert normalize("plain") == "plain"
