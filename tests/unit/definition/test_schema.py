"""The published schema: fresh, and of one mind with the checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from penstock.core.errors import RejectInput
from penstock.definition import (
    check,
    concurrency,
    jobs,
    limits,
    load_json_object,
    load_yaml,
    locks,
    resources,
    schema,
    shape,
    strategy,
    values,
)
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
    assert {"hello.yml", "diamond.yml", "matrix.yml"} <= {file.name for file in EXAMPLES}


def test_every_key_of_the_table_is_read_and_no_other() -> None:
    assert set(shape.PIPELINE.built) == set(_PIPELINE)
    assert set(shape.DEFAULTS.built) == set(jobs.FILE_WIDE)
    assert set(shape.JOB.built) == set(jobs._JOB)
    assert set(shape.STEP.built) == set(jobs._STEP)
    assert set(shape.TIMEOUT.built) == set(values._TIMEOUT)
    assert set(shape.RETRY.built) == set(values._RETRY)
    assert set(shape.RUNS_ON.built) == set(values._RUNS_ON)
    assert set(shape.RESOURCES.built) == set(resources.RESOURCES)
    assert set(shape.LOCK.built) == set(locks.LOCK)
    assert set(shape.STRATEGY.built) == set(strategy._STRATEGY)
    assert set(shape.CONCURRENCY.built) == set(concurrency.CONCURRENCY)
    for place in (*shape.PLACES, shape.DEFAULTS, shape.RUNS_ON, shape.LOCK):
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
        ({"run": "x", "resources": {"cpu": "500m", "memory": "4Gi", "arch": "arm64"}}, True),
        ({"run": "x", "resources": {"cpu": 0.5, "memory": 2**30}}, True),
        ({"run": "x", "resources": {"cpu": 0}}, False),
        ({"run": "x", "resources": {"memory": 4}}, False),
        ({"run": "x", "resources": {"memory": "4gb"}}, False),
        ({"run": "x", "resources": {"arch": "vax"}}, False),
        ({"run": "x", "resources": 4}, False),
        ({"run": "x", "locks": "a"}, True),
        ({"run": "x", "locks": ["a", {"name": "b", "mode": "shared"}]}, True),
        ({"run": "x", "locks": [{"mode": "shared"}]}, False),
        ({"run": "x", "locks": [{"name": "b", "mode": "both"}]}, False),
        ({"run": "x", "immediate": True}, True),
        ({"run": "x", "immediate": "yes"}, False),
        ({"run": "x", "strategy": {"matrix": {"a": [1, "b", True]}, "max-parallel": 2}}, True),
        ({"run": "x", "strategy": {"matrix": {"include": [{"a": 1}]}, "fail-fast": False}}, True),
        ({"run": "x", "strategy": {"matrix": {"a": [1], "exclude": [{}]}}}, False),
        ({"run": "x", "strategy": {"matrix": {"a": []}}}, False),
        ({"run": "x", "strategy": {"matrix": {"a": 1}}}, False),
        ({"run": "x", "strategy": {"matrix": {"a b": [1]}}}, False),
        ({"run": "x", "strategy": {"matrix": {"a": [[1]]}}}, False),
        ({"run": "x", "strategy": {"matrix": {}}}, False),
        ({"run": "x", "strategy": {"max-parallel": 1}}, False),
        ({"run": "x", "strategy": {"matrix": {"a": [1]}, "max-parallel": 0}}, False),
    ],
)
def test_schema_and_checker_agree(job: dict[str, Any], right: bool) -> None:
    agree({"jobs": {"a": job}}, right)


@pytest.mark.parametrize(
    ("concurrency", "right"),
    [
        ("a", True),
        ({"group": "a-${{ git.ref }}", "cancel-in-progress": True, "queue": "latest"}, True),
        ({"queue": "all"}, False),
        ({"group": "a", "queue": "max"}, False),
        ({"group": "a", "cancel-in-progress": "yes"}, False),
        (5, False),
    ],
)
def test_schema_and_checker_agree_on_concurrency(concurrency: Any, right: bool) -> None:
    agree({"concurrency": concurrency, "jobs": {"a": {"run": "x"}}}, right)


def test_the_schema_lets_a_matrix_fill_in_what_is_no_text() -> None:
    of_matrix = "${{ matrix.a }}"
    job = {
        "strategy": {"matrix": {"a": [2]}},
        "runs-on": {"pool": f"p{of_matrix}", "labels": [of_matrix]},
        "timeout": {"run": of_matrix, "queue": f"{of_matrix}m"},
        "retry": {"max": of_matrix},
        "priority": of_matrix,
        "executor": f"x{of_matrix}",
        "resources": {"cpu": of_matrix, "memory": f"{of_matrix}Gi"},
        "locks": [of_matrix, {"name": f"b {of_matrix}", "mode": "shared"}],
        "steps": [{"id": f"s{of_matrix}", "run": of_matrix, "timeout": of_matrix, "env": {"A": of_matrix}}],
    }
    agree({"jobs": {"test": job}}, True)
    flags = {"continue-on-error": of_matrix, "exclusive": of_matrix, "immediate": of_matrix}
    agree({"jobs": {"test": {"run": "x", "strategy": {"matrix": {"a": [True]}}, **flags}}}, True)


def agree(obj: dict[str, Any], right: bool) -> None:
    try:
        check(load_json_object(obj))
        checked = True
    except RejectInput:
        checked = False
    assert (checked, validator.is_valid(obj)) == (right, right)
