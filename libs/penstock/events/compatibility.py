"""What a new schema of a record would break: for those who wrote records before, and those who read them.

Fields are added for ever and never taken away (a breaking change is a new version of the record, on a topic
of its own). So the rule is the same in both directions, and knows no producers and consumers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT: Final = ("pattern", "multipleOf", "contentEncoding")


def breaks(old_schema: Schema, new_schema: Schema) -> list[str]:
    """Every way in which the new schema is not the old one with additions, as `place: what`.

    Additions are: a field that may be absent, another word of an enumeration, an element at the end of an
    array that may be absent, a bound that is loosened. Words such as `description` may change freely.
    """
    return list(_Comparison(old_schema, new_schema).schemas("$", old_schema, new_schema))


class _Comparison:
    """Two documents; references lead to their own `$defs`."""

    def __init__(self, old_root: Schema, new_root: Schema) -> None:
        self._old_root = old_root
        self._new_root = new_root
        self._under_way: set[tuple[str, str]] = set()

    def schemas(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        """Compare what may stand at one place."""
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair in self._under_way:
                return  # a record that contains itself
            self._under_way.add(pair)
        old_options = _options(old, self._old_root)
        new_options = _options(new, self._new_root)
        if set(old_options) != set(new_options):
            yield f"{place}: was {_named(old_options)}, becomes {_named(new_options)}"
        for kind in sorted(set(old_options) & set(new_options)):
            yield from self._one(place, old_options[kind], new_options[kind])
        self._under_way.discard(pair)

    def _one(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        yield from _bounds(place, old, new)
        yield from self._fields(place, old, new)
        yield from self._elements(place, old, new)

    def _fields(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in sorted(before.keys() - after.keys()):
            yield f"{place}.{name}: the field is removed"
        needed, wanted = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(wanted - needed):
            yield f"{place}.{name}: the field becomes required"
        for name in sorted((needed - wanted) & after.keys()):
            yield f"{place}.{name}: the field is no longer always there"
        for name in sorted(before.keys() & after.keys()):
            yield from self.schemas(f"{place}.{name}", before[name], after[name])
        yield from self._others(place, old, new)

    def _others(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        """Fields that are not listed: any (True), of one schema, or none (False)."""
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from self.schemas(f"{place}.*", before, after)
        elif before != after and after is not True:
            yield f"{place}.*: other fields are restricted"
        elif before != after:
            yield f"{place}.*: other fields are of any type now"

    def _elements(self, place: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = old.get("prefixItems", ()), new.get("prefixItems", ())
        if len(after) < len(before):
            yield f"{place}[{len(after)}]: the element is removed"
        for at, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from self.schemas(f"{place}[{at}]", one, other)
        if isinstance(old.get("items"), dict) or isinstance(new.get("items"), dict):
            yield from self.schemas(f"{place}[]", _items(old), _items(new))


def _bounds(place: str, old: Schema, new: Schema) -> Iterator[str]:
    if gone := sorted(set(_words(old)) - set(_words(new))):
        yield f"{place}: no longer one of the values {', '.join(gone)}"
    for name in (*_LOWER, *_UPPER):
        was, becomes = old.get(name), new.get(name)
        if becomes in (was, None):
            continue
        if was is None or (becomes > was) == (name in _LOWER):
            yield f"{place}: {name} becomes {becomes}"
    for name in _EXACT:
        if new.get(name) not in (old.get(name), None):
            yield f"{place}: {name} becomes {new[name]!r}"


def _options(schema: Schema, root: Schema) -> dict[str, Schema]:
    """What may stand at a place, by kind. Enumerations of texts are one kind, whatever their words."""
    if "$ref" in schema:
        return _options(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema:
        return {kind: one for part in schema["anyOf"] for kind, one in _options(part, root).items()}
    if "enum" in schema or "const" in schema:
        return {"one of several values": schema}
    kinds = schema.get("type", "anything")
    return dict.fromkeys([kinds] if isinstance(kinds, str) else kinds, schema)


def _words(schema: Schema) -> list[str]:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [str(value) for value in values]


def _items(schema: Schema) -> Schema:
    items = schema.get("items")
    return items if isinstance(items, dict) else {}


def _named(options: dict[str, Schema]) -> str:
    return " or ".join(sorted(options))
