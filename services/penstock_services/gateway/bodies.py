"""Bodies of requests: read within a limit, told apart by content type, decoded with a place a fault."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web

from penstock.core.errors import Problem, RejectInput
from penstock.definition.limits import MAX_JSON_BYTES, MAX_YAML_BYTES
from penstock_services.gateway.problems import HttpProblem, too_large

MAX_JSON_BODY: Final = MAX_JSON_BYTES + 1024 * 1024
"""The largest definition and what a request has beside it."""
MAX_SMALL_BODY: Final = 64 * 1024
READ_BYTES: Final = 64 * 1024

W = TypeVar("W", bound=msgspec.Struct)
Kind = Literal["json", "yaml"]
_KINDS: Final[dict[str, Kind]] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "text/x-yaml": "yaml",
}
_BYTE: Final = re.compile(r"\(byte ([0-9]+)\)")
_BLANK: Final = re.compile(rb"\s*")


def kind_of(request: web.Request) -> Kind:
    """What the body is.

    Raises:
        HttpProblem: 415.
    """
    kind = _KINDS.get(request.content_type) if "Content-Type" in request.headers else None
    if kind is None:
        detail = "the body is to be application/json or application/yaml: say so in the header Content-Type"
        raise HttpProblem(415, "unsupported-media-type", detail)
    return kind


async def read_definition_body(request: web.Request) -> tuple[Kind, bytes]:
    """A body that is or holds a definition.

    Raises:
        HttpProblem: 413, 415.
    """
    kind = kind_of(request)
    return kind, await read_body(request, MAX_JSON_BODY if kind == "json" else MAX_YAML_BYTES)


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        HttpProblem: 413 as soon as it is known to be larger than `limit`, 400 when it is cut short or its
            Content-Encoding is broken.
    """
    if (request.content_length or 0) > limit:
        raise too_large("the body", limit)
    data = bytearray()
    try:
        async for part in request.content.iter_chunked(READ_BYTES):
            data += part
            if len(data) > limit:
                raise too_large("the body", limit)
    except web.HTTPException:
        raise
    except (web.RequestPayloadError, web.PayloadAccessError) as error:
        raise HttpProblem(400, "malformed", f"the body cannot be read: {error}") from None
    return bytes(data)


async def read_wish(request: web.Request, kind: type[W]) -> W:
    """A small JSON object, or no body at all where nothing in particular is wished.

    Raises:
        HttpProblem: 400, 413, 415.
        RejectInput: fields that do not exist, or one of a wrong type.
    """
    body = await read_body(request, MAX_SMALL_BODY)
    if _BLANK.fullmatch(body):
        return msgspec.convert({}, kind)
    if kind_of(request) != "json":
        raise HttpProblem(415, "unsupported-media-type", "the body is to be application/json")
    fields = decode_object(body)
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    hint = f"there are {', '.join(known)}" if len(known) > 1 else f"there is {known[0]}"
    unknown = [
        Problem("there is no such field", name[:100], hint=hint) for name in fields if name not in known
    ]
    if unknown:
        raise RejectInput(unknown)
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise RejectInput(Problem(message, path.rstrip("`"))) from None


def decode_object(data: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        HttpProblem: 400 when it is not JSON, 422 when it is no object.
    """
    if _BLANK.fullmatch(data):
        raise _malformed(Problem("the body is empty", hint="send a JSON object"))
    try:
        found = msgspec.json.decode(data)
    except UnicodeDecodeError as error:
        raise _malformed(_at(data, error.start, "this is not UTF-8")) from None
    except msgspec.DecodeError as error:
        place = _BYTE.search(str(error))
        message = _BYTE.sub("", str(error)).strip()
        raise _malformed(_at(data, int(place[1]) if place else len(data), message)) from None
    except RecursionError:
        raise _malformed(Problem("nested too deep")) from None
    if not isinstance(found, dict):
        raise HttpProblem(
            422, "invalid", "the body is not a JSON object", errors=[Problem("expected an object")]
        )
    return found


def _at(data: bytes, offset: int, message: str) -> Problem:
    before = data[:offset]
    line = before.count(b"\n") + 1
    column = offset - (before.rfind(b"\n") + 1) + 1
    return Problem(message, line=line, column=column)


def _malformed(problem: Problem) -> HttpProblem:
    return HttpProblem(400, "malformed", str(problem), errors=[problem])
