"""The published schema: fresh, and of one mind with the checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from penstock.core.errors import RejectInput
from penstock.definition import check, jobs, limits, load_json_object, load_yaml, schema, shape, values
from penstock.definition.check import _PIPELINE

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))

validator = Draft202012Validator(schema.pipeline_schema())


def test_the_file_is_fresh() -> None:
    file = ROOT / "schemas" / "pipeline.schema.json"
    remedy = "run: python -m penstock.definition.schema schemas/pipeline.schema.json"
    assert file.read_bytes() == schema.render(), remedy


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema.pipeline_schema())


def test_the_command_writes_it(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    schema.main([str(tmp_path / "out.json")])
    schema.main([])
    assert (tmp_path / "out.json").read_bytes() == capfdbinary.readouterr().out == schema.render()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples(file: Path) -> None:
    source = load_yaml(file.read_bytes())
    check(source)
    validator.validate(source.data)


def test_there_are_examples() -> None:
    assert {"hello.yml", "diamond.yml"} <= {file.name for file in EXAMPLES}


def test_every_key_of_the_table_is_read_and_no_other() -> None:
    assert set(shape.PIPELINE.built) == set(_PIPELINE)
    assert set(shape.DEFAULTS.built) == set(jobs.FILE_WIDE)
    assert set(shape.JOB.built) == set(jobs._JOB)
    assert set(shape.STEP.built) == set(jobs._STEP)
    assert set(shape.TIMEOUT.built) == set(values._TIMEOUT)
    assert set(shape.RETRY.built) == set(values._RETRY)
    assert set(shape.RUNS_ON.built) == set(values._RUNS_ON)
    for place in (*shape.PLACES, shape.DEFAULTS, shape.RUNS_ON):
        assert not set(place.built) & set(place.later)
        assert not set(place.foreign) & {*place.built, *place.later}


@pytest.mark.parametrize(
    ("job", "right"),
    [
        ({"run": "x"}, True),
        ({"executor": "noop"}, True),
        ({"run": "x", "steps": [{"run": "y"}]}, False),
        ({"steps": [{"run": "y", "timeout": 5, "working-directory": "a/b", "id": "a-b"}]}, True),
        ({"steps": []}, False),
        ({"steps": [{"name": "y"}]}, False),
        ({"steps": [{"run": "y", "if": "always()"}]}, False),
        ({"run": "x", "timeout": "1h30m"}, True),
        ({"run": "x", "timeout": {"run": 90, "cancel-grace": "5s"}}, True),
        ({"run": "x", "timeout": "soon"}, False),
        ({"run": "x", "timeout": ""}, False),
        ({"run": "x", "timeout": 0}, False),
        ({"run": "x", "timeout": {"queue": 5}}, True),
        ({"run": "x", "retry": {"max": 20}}, True),
        ({"run": "x", "retry": {"max": 21}}, False),
        ({"run": "x", "retry": 2}, False),
        ({"run": "x", "priority": "high"}, True),
        ({"run": "x", "priority": 10}, True),
        ({"run": "x", "priority": "urgent"}, False),
        ({"run": "x", "runs-on": "linux"}, True),
        ({"run": "x", "runs-on": ["linux", "x64"]}, True),
        ({"run": "x", "runs-on": {"pool": "gpu", "labels": ["a"]}}, True),
        ({"run": "x", "runs-on": {"pool": "a b"}}, False),
        ({"run": "x", "runs-on": ["a b"]}, False),
        ({"run": "x", "if": "${{ always() }}"}, True),
        ({"run": "x", "if": "!cancelled()"}, True),
        ({"run": "x", "if": "git.branch == 'main'"}, False),
        ({"run": "x", "env": {"A": 1, "B": True, "C": "x"}}, True),
        ({"run": "x", "env": {"A-B": 1}}, False),
        ({"run": "x", "env": {"A": None}}, False),
        ({"run": "x", "continue-on-error": True}, True),
        ({"run": "x", "continue-on-error": "yes"}, False),
        ({"run": "x", "image": "debian"}, False),
        ({"run": 5}, False),
        ({"run": "x", "executor": "No Op"}, False),
        ({"run": "x", "needs": 5}, False),
        ({"run": "x", "shell": "x" * (limits.MAX_NAME_BYTES + 1)}, False),
    ],
)
def test_schema_and_checker_agree(job: dict[str, Any], right: bool) -> None:
    obj = {"jobs": {"a": job}}
    try:
        check(load_json_object(obj))
        checked = True
    except RejectInput:
        checked = False
    assert (checked, validator.is_valid(obj)) == (right, right)
