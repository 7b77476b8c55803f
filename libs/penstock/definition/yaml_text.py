"""The text of a YAML file before and around parsing: size, encoding, characters, lines, syntax errors."""

from __future__ import annotations

import re
from typing import Final

import yaml

from penstock.core.errors import Problem, RejectInput
from penstock.definition.limits import MAX_YAML_BYTES

_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAK: Final = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What libyaml counts as the end of a line."""
_DIRECTIVE: Final = re.compile(r"^%", re.MULTILINE)

_SYNTAX_HINTS: Final[dict[str, str]] = {
    "cannot start any token": "indent with blanks, not tabs; quote text that starts with @, ` or %",
    "mapping values are not allowed": "quote text that contains ': '",
    "could not find expected ':'": "a key is followed by ':' and a blank",
    "did not find expected key": "check the indentation, and quotes inside quoted text",
    "did not find expected ',' or ']'": "close the list with ]",
    "did not find expected ',' or '}'": "close the object with }",
    "unexpected end of stream": "a quote or bracket is not closed",
    "while scanning an anchor": "quote text that starts with &",
    "while scanning an alias": "quote text that starts with *",
    "while scanning a tag": "quote text that starts with !",
    "while parsing a tag": "quote text that starts with !",
    "undefined tag handle": "quote text that starts with !",
}


def position_of(text: str, index: int, start: int = 0, line: int = 1, column: int = 1) -> tuple[int, int]:
    """Line and column, from 1, of a character, counted on from a place that is known."""
    last = start - column + 1
    for match in _BREAK.finditer(text, start, index):
        line += 1
        last = match.end()
    return line, index - last + 1


def decode(text: bytes | str) -> str:
    """The text within its size limit, without a byte order mark, of printable characters only.

    Raises:
        RejectInput: otherwise, or when it has YAML directives.
    """
    if len(text) > MAX_YAML_BYTES:
        raise RejectInput(_too_large(len(text)))
    if isinstance(text, bytes):
        text = _decode_utf8(text)
    text = text.removeprefix("\ufeff")
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        line, column = position_of(text, forbidden.start())
        what = f"the character U+{ord(forbidden[0]):04X} is not allowed"
        raise RejectInput(Problem(what, "", line, column, "remove it, or write it as an escape in quotes"))
    if len(text) * 4 > MAX_YAML_BYTES and (size := len(text.encode())) > MAX_YAML_BYTES:
        raise RejectInput(_too_large(size))
    # %TAG costs libyaml time that grows with the square of their number, and nothing here has a use for it.
    directive = _DIRECTIVE.search(text)
    if directive is not None:
        line, column = position_of(text, directive.start())
        raise RejectInput(Problem("YAML directives are not allowed", "", line, column, "remove the line"))
    return text


def syntax_problem(error: yaml.YAMLError) -> Problem:
    """What libyaml says, with a way to mend it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(f"this is not YAML: {error}")
    message = " ".join(part for part in (error.context, error.problem) if part)
    hint = next((hint for words, hint in _SYNTAX_HINTS.items() if words in message), "")
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return Problem(f"this is not YAML: {message}", "", line, column, hint)


def _decode_utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        line, column = position_of(before, len(before))
        message = f"this is not UTF-8: byte 0x{data[error.start]:02x}"
        raise RejectInput(Problem(message, "", line, column, "save the file as UTF-8")) from None


def _too_large(size: int) -> Problem:
    return Problem(f"the file has {size:,} bytes; {MAX_YAML_BYTES:,} is the limit")
