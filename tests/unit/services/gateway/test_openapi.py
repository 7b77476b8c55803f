"""The document of the API is valid, complete, and its copy is fresh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from penstock_services.gateway.openapi import document, text
from penstock_services.gateway.routes import ROUTES

COPY = Path(__file__).parents[4] / "schemas" / "openapi.json"


def test_the_copy_is_fresh() -> None:
    command = "python -m penstock_services.gateway.openapi > schemas/openapi.json"
    assert COPY.read_bytes() == text(), f"run: {command}"


def test_every_call_is_there() -> None:
    paths = document()["paths"]
    assert {(route.method.lower(), route.path) for route in ROUTES} == {
        (method, path) for path, methods in paths.items() for method in methods
    }
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere() -> None:
    whole = document()
    for reference in re.findall(r'"\$ref":"#/([^"]+)"', text().decode().replace('": "', '":"')):
        found: Any = whole
        for part in reference.split("/"):
            found = found[part]
        assert found


@pytest.mark.parametrize("name", sorted(document()["components"]["schemas"]))
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(document()["components"]["schemas"][name])


def test_every_status_that_a_problem_can_have_is_described() -> None:
    described = set(document()["components"]["responses"])
    assert {str(status) for route in ROUTES for status in route.problems} <= described
