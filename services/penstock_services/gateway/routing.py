"""A call of the API, declared once: the router, the checks before a handler, and openapi.json read it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

import orjson
from aiohttp import web
from multidict import MultiMapping

from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import is_uuid
from penstock.store.tenants import Identity
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import absent

Scope = Literal["read", "write", "public"]
JSON: Final = "application/json"
YAML: Final = "application/yaml"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
EVENTS: Final = "text/event-stream"

MAX_TEXT_BYTES: Final = 2_048
"""Of one query field."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_FLAGS: Final = {"1": True, "true": True, "": True, "0": False, "false": False}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A query field or header. Its `default` is what a handler gets when it is absent."""

    name: str
    about: str
    kind: Literal["text", "integer", "flag"] = "text"
    default: Any = ""
    minimum: int = 0
    maximum: int = 2**53
    choices: tuple[str, ...] = ()
    repeated: bool = False
    place: Literal["query", "header"] = "query"


@dataclasses.dataclass(frozen=True)
class Answer:
    """A successful answer: its shape, and the content types that it has."""

    about: str
    view: type[Any] | None = None
    content: tuple[str, ...] = (JSON,)


@dataclasses.dataclass(frozen=True)
class Body:
    """What a call takes: for each content type the shape, or None for a pipeline file."""

    content: Mapping[str, type[Any] | None]
    required: bool = True


@dataclasses.dataclass(frozen=True)
class Call:
    """One request, after its token and its query were found good."""

    request: web.Request
    identity: Identity
    query: Mapping[str, Any]

    def id_of(self, what: str) -> str:
        """The id in the path, in canonical form. Raises 404 where it is none: nothing has such a name."""
        found = self.request.match_info["id"].lower()
        if not is_uuid(found):
            raise absent(what)
        return found


Handle = Callable[[Gateway, Call], Awaitable[web.StreamResponse]]


@dataclasses.dataclass(frozen=True)
class Route:
    """One call of the API. `problems` are the statuses of its errors beyond those that every call has."""

    method: Literal["GET", "POST"]
    path: str
    handle: Handle
    about: str
    answers: Mapping[int, Answer]
    scope: Scope = "read"
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    problems: Sequence[int] = ()

    @property
    def name(self) -> str:
        """A name that no other call has."""
        subject = self.handle.__module__.rpartition(".")[2]
        return f"{subject}_{getattr(self.handle, '__name__', '')}"


def reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=orjson.dumps(data), content_type=JSON, headers=headers)


def read_query(given: MultiMapping[str], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The values of all query fields.

    Raises:
        RejectInput: naming every field that is unknown, given twice, or senseless.
    """
    known = {parameter.name: parameter for parameter in parameters if parameter.place == "query"}
    problems = [_unknown(name, known) for name in dict.fromkeys(given) if name not in known]
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        texts = given.getall(name, [])
        if len(texts) > 1 and not parameter.repeated:
            problems.append(Problem("given more than once", name, hint="give it once"))
        read = [_value(parameter, text, problems) for text in texts]
        if parameter.repeated:
            values[name] = read
        else:
            values[name] = read[0] if read else parameter.default
    if problems:
        raise RejectInput(problems)
    return values


def _value(parameter: Parameter, text: str, problems: list[Problem]) -> Any:
    name = parameter.name
    if len(text.encode("utf-8", "surrogateescape")) > MAX_TEXT_BYTES or _CONTROL.search(text):
        hint = f"at most {MAX_TEXT_BYTES:,} bytes without control characters"
        problems.append(Problem("this is not usable text", name, hint=hint))
        return None
    if parameter.kind == "integer":
        low, high = parameter.minimum, parameter.maximum
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            problems.append(Problem(f"{text!r} is not a number from {low:,} to {high:,}", name))
            return None
        return int(text)
    if parameter.kind == "flag":
        if text.lower() not in _FLAGS:
            problems.append(Problem(f"{text!r} is neither true nor false", name, hint="true or false"))
        return _FLAGS.get(text.lower())
    if parameter.choices and text not in parameter.choices:
        near = difflib.get_close_matches(text.upper(), parameter.choices, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        problems.append(
            Problem(f"{text!r} is not known", name, hint=f"{meant}one of {', '.join(parameter.choices)}")
        )
    return text


def _unknown(name: str, known: Mapping[str, Parameter]) -> Problem:
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    there = f"there are {', '.join(known)}" if known else "this call has none"
    return Problem("this is not a query field here", name[:100], hint=meant + there)
