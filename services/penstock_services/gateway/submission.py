"""From an HTTP request to the record that asks for a pipeline (interface §3)."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Mapping
from typing import Any, Final, get_args, get_type_hints

import msgspec

from penstock.core.errors import Problem, RejectInput
from penstock.definition.yaml_text import decode
from penstock.events.pipelines import Git, PipelineRequested, Trigger
from penstock.store.tenants import Identity
from penstock_services.gateway.problems import HttpProblem
from penstock_services.gateway.routing import Parameter

KEY_HEADER: Final = "Idempotency-Key"

_TYPES: Final = get_type_hints(PipelineRequested)
_GIT: Final = tuple(Git.__struct_fields__)

QUERY: Final = (
    Parameter("tenant", "Must be the token's own."),
    Parameter("request_id", "Idempotency key; the header Idempotency-Key beats it."),
    Parameter("pipeline_id", "UUIDv7 chosen by the client."),
    Parameter("priority", "critical, high, normal, or 1 to 10."),
    Parameter("trigger", "What caused it.", choices=get_args(Trigger)),
    *(Parameter(name, f"`git.{name}` of the request.") for name in _GIT),
    Parameter("input", "An input as NAME=VALUE.", repeated=True),
    Parameter("env", "A variable as NAME=VALUE.", repeated=True),
)
"""Fields of a request whose body is the pipeline file itself."""


def from_json(fields: Mapping[str, Any], identity: Identity, key: str | None) -> PipelineRequested:
    """The request that a JSON body is; `key` is the header's.

    Raises:
        RejectInput: fields that do not exist or are of a wrong type, all of them.
        HttpProblem: 403, it names another tenant.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in _TYPES:
            near = difflib.get_close_matches(name, _TYPES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_TYPES)}"
            problems.append(Problem("a request has no such field", name[:100], hint=hint))
        elif value is not None:
            try:
                values[name] = msgspec.convert(value, _TYPES[name])
            except msgspec.ValidationError as error:
                problems.append(_of_wrong_type(name, error))
    if problems:
        raise RejectInput(problems)
    return _own(PipelineRequested(**{"tenant": identity.tenant, **values}), identity, key)


def from_yaml(
    body: bytes, query: Mapping[str, Any], identity: Identity, key: str | None
) -> PipelineRequested:
    """The request that a pipeline file with query fields is.

    Raises:
        RejectInput: the body is not UTF-8 text, or an `input` or `env` is not NAME=VALUE.
        HttpProblem: 403, it names another tenant.
    """
    problems: list[Problem] = []
    inputs = _pairs("input", query["input"], problems)
    env = _pairs("env", query["env"], problems)
    if problems:
        raise RejectInput(problems)
    git = {name: query[name] for name in _GIT if query[name]}
    priority: str = query["priority"]
    requested = PipelineRequested(
        tenant=query["tenant"] or identity.tenant,
        request_id=query["request_id"],
        pipeline_id=query["pipeline_id"],
        definition_yaml=decode(body),
        priority=int(priority) if priority.isdecimal() and priority.isascii() else priority or None,
        trigger=query["trigger"] or None,
        git=Git(**git) if git else None,
        inputs=inputs or None,
        env=env or None,
    )
    return _own(requested, identity, key)


def read_key(header: str | None) -> str:
    """The idempotency key in its header; empty when there is none. Raises RejectInput."""
    if header is None:
        return ""
    if not header.strip():
        raise RejectInput(Problem("the header is empty", KEY_HEADER, hint="leave it out, or give it a value"))
    try:
        header.encode()
    except UnicodeEncodeError:
        raise RejectInput(Problem("the header is not UTF-8", KEY_HEADER)) from None
    return header


def refuse_query(query: Mapping[str, Any]) -> None:
    """With a JSON body all fields stand in it. Raises RejectInput."""
    given = [name for name, value in query.items() if value]
    if given:
        raise RejectInput([Problem("with a JSON body this is a field of the body", name) for name in given])


def _own(requested: PipelineRequested, identity: Identity, key: str | None) -> PipelineRequested:
    """The request under its key, which is made up if there is none."""
    if requested.tenant != identity.tenant:
        detail = f"the token speaks for tenant {identity.tenant}, the request names another one"
        raise HttpProblem(403, "forbidden", detail, errors=[Problem("this is another tenant", "tenant")])
    return msgspec.structs.replace(
        requested, request_id=read_key(key) or requested.request_id or str(uuid.uuid4())
    )


def _pairs(name: str, texts: list[str], problems: list[Problem]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append(Problem(f"{text!r} is not NAME=VALUE", name))
        elif key in pairs:
            problems.append(Problem(f"{key!r} is given more than once", name))
        pairs[key] = value
    return pairs


def _of_wrong_type(name: str, error: msgspec.ValidationError) -> Problem:
    message, _, place = str(error).partition(" - at `$")
    return Problem(message, name + place.rstrip("`"))
