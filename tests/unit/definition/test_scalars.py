"""Plain scalars by the YAML 1.2 core schema."""

from __future__ import annotations

import math

import pytest

from penstock.definition.scalars import resolve, resolve_tagged


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False),
        ("0", 0), ("-12", -12), ("+7", 7), ("007", 7), ("0o17", 15), ("0xfF", 255),
        ("3.10", 3.1), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-.inf", -math.inf), (".Inf", math.inf),
        ("9" * 19, int("9" * 19)), ("9" * 20, 1e20), ("9" * 400, math.inf),
    ],
)  # fmt: skip
def test_special_values(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["on", "off", "yes", "no", "y", "n", "12:30", "2020-01-01", "1_000", "0b1", "0x", "0o8", "tRue", "nil",
     "-", "+", ".", "...", "1.2.3", "1e", "e3", "1 2", "=", "<<", "١٢"],
)  # fmt: skip
def test_all_else_is_text(text: str) -> None:
    assert resolve(text) == text


def test_not_a_number() -> None:
    found = resolve(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


def test_tags() -> None:
    assert resolve_tagged("3.10", "tag:yaml.org,2002:str") == "3.10"
    assert resolve_tagged("true", "!") == "true"
    assert resolve_tagged("true", "tag:yaml.org,2002:bool") is True


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("x", "int"),
        ("true", "int"),
        ("1.5", "int"),
        ("x", "null"),
        ("1", "bool"),
        ("x", "binary"),
        ("x", "timestamp"),
    ],
)
def test_tags_that_do_not_fit(text: str, tag: str) -> None:
    with pytest.raises(ValueError, match=tag):
        resolve_tagged(text, "tag:yaml.org,2002:" + tag)
