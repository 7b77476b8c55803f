"""The JSON Schema of the pipeline file, for editors: `python -m penstock.definition.schema FILE` writes it.

It describes what `check` accepts as far as a schema can: keys, types, patterns and limits. Names that must
exist, cycles and what `defaults` give to a job are for `check` alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from penstock.core.architectures import ALIASES, ARCHITECTURES
from penstock.core.lanes import LANES
from penstock.definition import (
    concurrency,
    durations,
    expressions,
    limits,
    locks,
    matrix,
    resources,
    shape,
    values,
)

Schema = dict[str, Any]


def pipeline_schema() -> Schema:
    """The schema as JSON-able data."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:penstock:schema:pipeline:1",
        "title": "Penstock pipeline",
        "description": "A pipeline file (.penstock.yml). Keys that are GitHub's mean what they mean there.",
        **_object(shape.PIPELINE, _PIPELINE, required=["jobs"]),
        "$defs": {
            "duration": _DURATION,
            "env": _ENV,
            "labels": _LABELS,
            "name": _NAME,
            "priority": _PRIORITY,
            "timeout": _TIMEOUT,
            "retry": _RETRY,
            "runs-on": _RUNS_ON,
            "of-matrix": _OF_MATRIX,
            "resources": _RESOURCES,
            "lock": _LOCK,
            "matrix": _MATRIX,
            "defaults": {"title": "Defaults", **_object(shape.DEFAULTS, _FILE_WIDE)},
            "job": {"title": "Job", **_object(shape.JOB, _JOB), "not": {"required": ["run", "steps"]}},
            "step": {"title": "Step", **_object(shape.STEP, _STEP, required=["run"])},
        },
    }


def render() -> bytes:
    """The file `schemas/pipeline.schema.json`."""
    return orjson.dumps(pipeline_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def main(arguments: list[str]) -> None:
    """Write the schema to the file that is named, or to stdout."""
    if arguments:
        Path(arguments[0]).write_bytes(render())
    else:
        sys.stdout.buffer.write(render())


def _object(
    place: shape.Place, properties: Mapping[str, Schema], required: list[str] | None = None
) -> Schema:
    """An object with exactly the built keys of a place, each with the table's words about it."""
    described = {key: {"description": sentence, **properties[key]} for key, sentence in place.built.items()}
    schema: Schema = {"type": "object", "properties": described, "additionalProperties": False}
    return {**schema, "required": required} if required else schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


_OF_MATRIX: Final[Schema] = {
    "title": "Of the matrix",
    "description": "A value of the job's matrix: ${{ matrix.KEY }}.",
    "type": "string",
    "pattern": expressions.OF_MATRIX,
}


def _or_of_matrix(*schemas: Schema) -> Schema:
    """One of these, or text that a matrix completes. A schema cannot tell whether the job has a matrix."""
    return {"anyOf": [*schemas, _ref("of-matrix")]}


_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_NAME: Final[Schema] = {**_TEXT, "maxLength": limits.MAX_NAME_BYTES}
_JOB_NAME: Final[Schema] = {**_TEXT, "maxLength": limits.MAX_JOB_NAME_BYTES}
_DURATION: Final[Schema] = {
    "title": "Duration",
    "description": "Such as 90s, 15m, 1h30m, or a number of seconds; at most 7d.",
    "examples": ["90s", "15m", "1h30m"],
    **_or_of_matrix(
        {"type": "string", "pattern": _whole(durations.PATTERN)},
        {"type": "number", "exclusiveMinimum": 0, "maximum": limits.MAX_DURATION_SECONDS},
    ),
}
_FLAG: Final[Schema] = {**_or_of_matrix({"type": "boolean"}), "default": False}
_ENV: Final[Schema] = {
    "title": "Environment variables",
    "type": "object",
    "propertyNames": {"pattern": _whole(values.ENV_NAME)},
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_LABEL: Final[Schema] = _or_of_matrix(
    {"type": "string", "pattern": _whole(values.LABEL), "maxLength": limits.MAX_LABEL_BYTES}
)
_LABELS: Final[Schema] = {
    "title": "Labels",
    "anyOf": [_LABEL, {"type": "array", "items": _LABEL, "maxItems": limits.MAX_LABELS}],
}
_PRIORITY: Final[Schema] = {
    "title": "Priority",
    **_or_of_matrix({"enum": list(LANES)}, {"type": "integer", "minimum": 1, "maximum": 10}),
}
_TIMEOUT: Final[Schema] = {
    "title": "Timeout",
    "oneOf": [
        _ref("duration"),
        _object(shape.TIMEOUT, dict.fromkeys(("run", "queue", "cancel-grace"), _ref("duration"))),
    ],
}
_RETRY: Final[Schema] = {
    "title": "Retry",
    **_object(
        shape.RETRY,
        {"max": _or_of_matrix({"type": "integer", "minimum": 0, "maximum": limits.MAX_RETRIES})},
    ),
}
_RUNS_ON: Final[Schema] = {
    "title": "Runs on",
    "oneOf": [
        _ref("labels"),
        _object(
            shape.RUNS_ON,
            {
                "pool": _or_of_matrix({"type": "string", "pattern": _whole(values.POOL)}),
                "labels": _ref("labels"),
            },
        ),
    ],
}
_RESOURCES: Final[Schema] = {
    "title": "Resources",
    **_object(
        shape.RESOURCES,
        {
            "cpu": _or_of_matrix(
                {"type": "string", "pattern": _whole(resources.CPU)},
                {"type": "number", "exclusiveMinimum": 0, "maximum": limits.MAX_CPU},
            ),
            "memory": _or_of_matrix(
                {"type": "string", "pattern": _whole(resources.MEMORY)},
                {
                    "type": "integer",
                    "minimum": limits.MIN_MEMORY_BYTES,
                    "maximum": limits.MAX_MEMORY_BYTES,
                },
            ),
            "arch": _or_of_matrix({"enum": [*ARCHITECTURES, *ALIASES]}),
        },
    ),
}
_LOCK: Final[Schema] = {
    "title": "Lock",
    "anyOf": [
        _NAME,
        _object(
            shape.LOCK,
            {"name": _NAME, "mode": _or_of_matrix({"enum": list(locks.MODES)})},
            required=["name"],
        ),
    ],
}
_MATRIX_VALUE: Final[Schema] = {"type": ["string", "number", "boolean"]}
_MATRIX_ENTRIES: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": _whole(matrix.KEY)},
        "additionalProperties": _MATRIX_VALUE,
    },
}
_MATRIX: Final[Schema] = {
    "title": "Matrix",
    "type": "object",
    "propertyNames": {"pattern": _whole(matrix.KEY)},
    "properties": {
        "include": {
            "description": "Each goes into the cells that it fits, or is a cell of its own.",
            **_MATRIX_ENTRIES,
        },
        "exclude": {
            "description": "Cells that have all values of one of these are left out.",
            **_MATRIX_ENTRIES,
        },
    },
    "additionalProperties": {"type": "array", "items": _MATRIX_VALUE, "minItems": 1},
    "minProperties": 1,
}
_STRATEGY: Final[Schema] = {
    "title": "Strategy",
    **_object(
        shape.STRATEGY,
        {
            "matrix": _ref("matrix"),
            "fail-fast": {"type": "boolean", "default": True},
            "max-parallel": {"type": "integer", "minimum": 1, "maximum": limits.MAX_JOBS_JSON},
        },
        required=["matrix"],
    ),
}
_CONCURRENCY: Final[Schema] = {
    "title": "Concurrency",
    "anyOf": [
        _NAME,
        _object(
            shape.CONCURRENCY,
            {
                "group": _NAME,
                "cancel-in-progress": {"type": "boolean", "default": False},
                "queue": {"enum": list(concurrency.QUEUES), "default": "all"},
            },
            required=["group"],
        ),
    ],
}
_FILE_WIDE: Final[dict[str, Schema]] = {
    "env": _ref("env"),
    "shell": _ref("name"),
    "runs-on": _ref("runs-on"),
    "executor": {
        **_or_of_matrix({"type": "string", "pattern": _whole(values.EXECUTOR)}),
        "default": "process",
        "examples": ["process", "noop"],
    },
    "timeout": _ref("timeout"),
    "retry": _ref("retry"),
    "continue-on-error": _FLAG,
    "exclusive": _FLAG,
    "resources": _ref("resources"),
}
_JOB: Final[dict[str, Schema]] = {
    **_FILE_WIDE,
    "stage": _ref("name"),
    "needs": {"oneOf": [_JOB_NAME, {"type": "array", "items": _JOB_NAME}]},
    "if": {
        # Without a flag for it in JSON Schema, only the usual spelling in lower case is suggested.
        **_or_of_matrix({"type": "string", "pattern": _whole(values.CONDITION)}),
        "examples": ["always()", "failure()", "success()"],
    },
    "priority": _ref("priority"),
    "locks": {"anyOf": [_NAME, {"type": "array", "items": _ref("lock"), "maxItems": limits.MAX_LOCKS}]},
    "immediate": _FLAG,
    "strategy": _STRATEGY,
    "run": _TEXT,
    "steps": {"type": "array", "items": _ref("step"), "minItems": 1, "maxItems": limits.MAX_STEPS},
}
_STEP: Final[dict[str, Schema]] = {
    "id": _or_of_matrix({"type": "string", "pattern": _whole(values.STEP_ID)}),
    "name": _ref("name"),
    "run": _TEXT,
    "shell": _ref("name"),
    "env": _ref("env"),
    "continue-on-error": _FLAG,
    "timeout": _ref("duration"),
    "working-directory": {**_TEXT, "maxLength": limits.MAX_PATH_BYTES},
}
_PIPELINE: Final[dict[str, Schema]] = {
    "name": _ref("name"),
    "on": {"type": ["object", "array", "string"]},
    "env": _ref("env"),
    "priority": _ref("priority"),
    "concurrency": _CONCURRENCY,
    "stages": {"type": "array", "items": _ref("name"), "uniqueItems": True, "maxItems": limits.MAX_STAGES},
    "defaults": _ref("defaults"),
    "jobs": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": limits.MAX_JOBS_JSON,
        "propertyNames": {
            "minLength": 1,
            "maxLength": limits.MAX_JOB_NAME_BYTES,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        },
        "additionalProperties": _ref("job"),
    },
}


if __name__ == "__main__":
    main(sys.argv[1:])
