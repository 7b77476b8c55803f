"""A planted incompatible schema is flagged; an addition is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from penstock.events import schemas
from penstock.events.compatibility import breaks

Schema = dict[str, Any]
OLD: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "count": {"type": "integer", "minimum": 1, "maximum": 10},
        "reason": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}], "default": None},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2},
    },
    "required": ["id", "parts"],
    "$defs": {
        "Part": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "inner": {"$ref": "#/$defs/Part"}},
            "required": ["name"],
        }
    },
}


def planted(change: Callable[[Schema], object]) -> list[str]:
    new = copy.deepcopy(OLD)
    change(new)
    return breaks(OLD, new)


@pytest.mark.parametrize("record", schemas.RECORDS, ids=lambda record: record.name)
def test_a_schema_does_not_break_itself(record: schemas.Record) -> None:
    assert breaks(schemas.schema(record), schemas.schema(record)) == []


@pytest.mark.parametrize("record", schemas.RECORDS, ids=lambda record: record.name)
def test_every_field_that_is_removed_or_retyped_is_flagged(record: schemas.Record) -> None:
    old = schemas.schema(record)
    for name in old["properties"]:
        removed = copy.deepcopy(old)
        del removed["properties"][name]
        assert f"$.{name}: the field is removed" in breaks(old, removed)
        retyped = copy.deepcopy(old)
        retyped["properties"][name] = {"type": "a type of its own"}
        assert len(breaks(old, retyped)) == 1
        needed = copy.deepcopy(old)
        needed["required"] = [*old["required"], "colour"]
        needed["properties"]["colour"] = {"type": "string"}
        assert breaks(old, needed) == ["$.colour: the field becomes required"]


@pytest.mark.parametrize(
    ("change", "flagged"),
    [
        (lambda s: s["properties"].pop("count"), "$.count: the field is removed"),
        (lambda s: s["properties"].update(id={"type": "integer"}), "$.id: was string, becomes integer"),
        (
            lambda s: s["properties"].update(id={"anyOf": [{"type": "string"}, {"type": "null"}]}),
            "$.id: was string, becomes null or string",
        ),
        (lambda s: s["required"].append("count"), "$.count: the field becomes required"),
        (lambda s: s["required"].remove("id"), "$.id: the field is no longer always there"),
        (
            lambda s: s["properties"]["reason"]["anyOf"][0].update(enum=["a"]),
            "$.reason: no longer one of the values b",
        ),
        (lambda s: s["properties"]["count"].update(minimum=2), "$.count: minimum becomes 2"),
        (lambda s: s["properties"]["count"].update(maximum=9), "$.count: maximum becomes 9"),
        (lambda s: s["properties"]["id"].update(maxLength=9), "$.id: maxLength becomes 9"),
        (lambda s: s["properties"]["id"].update(pattern="^a"), "$.id: pattern becomes '^a'"),
        (lambda s: s["$defs"]["Part"]["properties"].pop("inner"), "$.parts[].inner: the field is removed"),
        (
            lambda s: s["properties"]["env"].update(additionalProperties={"type": "integer"}),
            "$.env.*: was string, becomes integer",
        ),
        (
            lambda s: s["properties"]["env"].pop("additionalProperties"),
            "$.env.*: other fields are of any type now",
        ),
        (lambda s: s.update(additionalProperties=False), "$.*: other fields are restricted"),
        (lambda s: s["properties"]["pair"]["prefixItems"].pop(), "$.pair[1]: the element is removed"),
        (lambda s: s["properties"]["pair"].update(minItems=3), "$.pair: minItems becomes 3"),
        (lambda s: s["properties"]["parts"].pop("items"), "$.parts[]: was object, becomes anything"),
    ],
)
def test_what_breaks(change: Callable[[Schema], object], flagged: str) -> None:
    assert planted(change) == [flagged]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].update(colour={"type": "string"}),
        lambda s: s["properties"]["reason"]["anyOf"][0].update(enum=["a", "b", "c"]),
        lambda s: s["properties"]["count"].update(minimum=0, maximum=20),
        lambda s: s["properties"]["count"].pop("minimum"),
        lambda s: s["properties"]["pair"]["prefixItems"].append({"type": "string"}),
        lambda s: s["properties"]["id"].update(description="in other words", examples=["x"]),
        lambda s: s["$defs"]["Part"]["properties"].update(more={"type": "integer"}),
    ],
)
def test_what_is_an_addition(change: Callable[[Schema], object]) -> None:
    assert planted(change) == []
