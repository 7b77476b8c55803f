"""The digest of requests."""

from __future__ import annotations

import hashlib

import pytest

from penstock.core.errors import RejectInput
from penstock.definition import digest


def test_canonical() -> None:
    expected = hashlib.sha256(b'{"a":[1,{"c":null,"d":"\xc3\xa9"}],"b":2.5}').digest()
    assert digest({"b": 2.5, "a": [1, {"d": "é", "c": None}]}) == expected


def test_text_counts_as_it_came() -> None:
    assert digest({"a": "é"}) != digest({"a": "e\u0301"})
    assert digest([1, 2]) != digest([2, 1])


@pytest.mark.parametrize("obj", ["\ud800", 2**70, {1: 2}, object()])
def test_what_is_not_json(obj: object) -> None:
    with pytest.raises(RejectInput, match="not JSON"):
        digest(obj)
