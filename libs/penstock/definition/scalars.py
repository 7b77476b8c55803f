"""What a plain YAML scalar means by the YAML 1.2 core schema.

PyYAML's own resolver is YAML 1.1: it turns `on` and `no` into booleans and `12:30` into 750. Here only
`true`/`false`, `null`/`~`, decimal, 0o and 0x integers, and floats are special; all else is text.
"""

from __future__ import annotations

import re
from typing import Final

Scalar = str | int | float | bool | None

TAG_PREFIX: Final = "tag:yaml.org,2002:"

_WORDS: Final[dict[str, bool | float | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    **{sign + word: float(sign + word[1:]) for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
}  # fmt: skip
_INT: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]{1,21}|0x[0-9a-fA-F]{1,16}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_STARTS: Final = frozenset("-+.0123456789")
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),),
}  # fmt: skip


def resolve(text: str) -> Scalar:
    """The value of a plain scalar without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INT.fullmatch(text):
        # Beyond 64 bits an integer is no count of anything here, and long ones are slow to convert.
        return int(text) if len(text) <= 19 else float(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def resolve_tagged(text: str, tag: str) -> Scalar:
    """The value of a scalar with an explicit tag.

    Raises:
        ValueError: the tag is not of the core schema or does not fit the text.
    """
    name = tag.removeprefix(TAG_PREFIX)
    if tag == "!" or name == "str":
        return text
    value = resolve(text)
    types = _TAGGED.get(name)
    if types is None or not isinstance(value, types) or (name != "bool" and isinstance(value, bool)):
        raise ValueError(tag)
    return value
