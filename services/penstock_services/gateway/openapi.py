"""The OpenAPI 3.1 document of the API, made from its routes; `schemas/openapi.json` is a copy of it.

`python -m penstock_services.gateway.openapi > schemas/openapi.json` renews the copy.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import orjson

from penstock_services.gateway import views
from penstock_services.gateway.problems import CONTENT_TYPE
from penstock_services.gateway.routes import ROUTES
from penstock_services.gateway.routing import Answer, Body, Parameter, Route

API_VERSION: Final = "1.0.0"
_IN_PATH: Final = re.compile(r"{(\w+)}")
_SCHEMAS: Final = "#/components/schemas/{name}"

_PROBLEMS: Final[dict[int, str]] = {
    400: "The body is not JSON.",
    401: "No token, or not a good one.",
    403: "The token lacks the scope, or the request names another tenant.",
    404: "Not there, or another tenant's.",
    406: "None of the accepted content types is there.",
    409: "It contradicts what is; `type` says how: `request-conflict`, `already-terminal`, ….",
    413: "Over a limit in bytes.",
    415: "A content type that is not taken here.",
    422: "It is wrong and stays wrong; `errors` says what and where.",
    429: "Over quota.",
    503: "A server is away and nothing was done; try again after Retry-After seconds.",
}


def document(routes: Iterable[Route] = ROUTES) -> dict[str, Any]:
    """The whole document."""
    views_of_all = _views(routes)
    schemas, components = msgspec.json.schema_components(views_of_all, ref_template=_SCHEMAS)
    shapes = dict(zip(views_of_all, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shapes)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Penstock",
            "version": API_VERSION,
            "description": "Pipelines in, states and logs out. Times are RFC 3339 UTC with microseconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {
                str(status): {
                    "description": about,
                    "content": {CONTENT_TYPE: {"schema": shapes[views.ProblemDetails]}},
                }
                for status, about in _PROBLEMS.items()
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made by `penstock token`."}
            },
        },
    }


def _views(routes: Iterable[Route]) -> list[Any]:
    """Every shape once, in the order of the routes."""
    found: dict[Any, None] = {views.ProblemDetails: None}
    for route in routes:
        shapes = [answer.view for answer in route.answers.values()]
        if route.body is not None:
            shapes += route.body.content.values()
        found.update((shape, None) for shape in shapes if shape is not None)
    return list(found)


def _operation(route: Route, shapes: Mapping[Any, Any]) -> dict[str, Any]:
    problems = set(route.problems)
    if route.scope != "public":
        problems |= {401, 403, 503}
    responses: dict[str, Any] = {
        str(status): _answer(answer, shapes) for status, answer in route.answers.items()
    }
    responses |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(problems)}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.about,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
                for name in _IN_PATH.findall(route.path)
            ),
            *(_parameter(parameter) for parameter in route.parameters),
        ],
        "responses": responses,
    }
    if route.body is not None:
        operation["requestBody"] = _body(route.body, shapes)
    if route.scope == "public":
        operation["security"] = []
    else:
        operation["x-scope"] = route.scope
    return operation


def _answer(answer: Answer, shapes: Mapping[Any, Any]) -> dict[str, Any]:
    schema = {"type": "string"} if answer.view is None else shapes[answer.view]
    return {
        "description": answer.about,
        "content": {content: {"schema": schema} for content in answer.content},
    }


def _body(body: Body, shapes: Mapping[Any, Any]) -> dict[str, Any]:
    file = {"type": "string", "description": "A pipeline file."}
    return {
        "required": body.required,
        "content": {
            content: {"schema": file if shape is None else shapes[shape]}
            for content, shape in body.content.items()
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": {"text": "string", "integer": "integer", "flag": "boolean"}[parameter.kind]
    }
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.kind == "integer":
        schema |= {"minimum": parameter.minimum, "maximum": parameter.maximum}
    if parameter.default not in ("", None):
        schema["default"] = parameter.default
    if parameter.repeated:
        schema = {"type": "array", "items": schema}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "schema": schema,
    }


def _path_schema(name: str) -> dict[str, Any]:
    return {"type": "string", "format": "uuid"} if name == "id" else {"type": "string"}


def text() -> bytes:
    """The document as the file holds it."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    sys.stdout.buffer.write(text())
