"""Input that others wrote: runs only where PENSTOCK_CORPORA names the folder of corpora."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.core.errors import Problem, RejectInput
from penstock.definition import Definition, check, load_json_object, load_yaml, plan

FOLDER = os.environ.get("PENSTOCK_CORPORA", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="PENSTOCK_CORPORA names no folder")


def ends_well(load: Any, data: object) -> Definition | None:
    """A definition that can be planned, or a refusal with problems that can be sent; nothing else."""
    return outcome(load, data)[0]


def outcome(load: Any, data: object) -> tuple[Definition | None, Sequence[Problem]]:
    """The same with the problems."""
    try:
        definition = check(load(data))
    except RejectInput as rejected:
        found = rejected.problems
    else:
        plan(definition)
        return definition, ()
    assert found
    for problem in found:
        assert problem.message
        str(problem).encode()
    return None, found


def yaml_cases() -> Iterator[str]:
    for file in sorted((Path(FOLDER) / "bad/yaml/src").glob("*.yaml")):
        for case in yaml.safe_load(file.read_text()):
            if text := case.get("yaml"):
                # The suite's own marks for blanks, tabs, line ends and byte order marks.
                for mark, meant in {
                    "␣": " ",
                    "—": "",
                    "»": "\t",
                    "←": "\r",
                    "⇔": "\ufeff",
                    "↵": "",
                    "∎": "",
                }.items():
                    text = text.replace(mark, meant)
                yield text


def test_bad_yaml() -> None:
    seen = 0
    for file in sorted((Path(FOLDER) / "bad/yaml/src").glob("*.yaml")):
        ends_well(load_yaml, file.read_bytes())
    for text in yaml_cases():
        seen += 1
        ends_well(load_yaml, text)
        # Where a job would be, with its indentation; most cases are no job, none may be anything but refused.
        ends_well(load_yaml, "jobs:\n  a:\n" + "".join(f"    {line}\n" for line in text.splitlines()))
    assert seen


def test_bad_json() -> None:
    files = sorted((Path(FOLDER) / "bad/json/test_parsing").iterdir())
    assert files
    for file in files:
        data = file.read_bytes()
        ends_well(load_yaml, data)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            continue
        ends_well(load_json_object, value)
        ends_well(load_json_object, {"jobs": {"a": value}, "env": value})
        ends_well(load_json_object, {"jobs": {"a": {"executor": "noop", "env": {"A": value}}}})


def test_bad_strings() -> None:
    for file in sorted((Path(FOLDER) / "bad/strings").iterdir()):
        for text in file.read_text().splitlines():
            ends_well(
                load_json_object, {"name": text, "jobs": {text: {"run": text, "needs": text, "shell": text}}}
            )
            if text.strip() and text.isprintable() and "${{" not in text:
                definition = ends_well(load_json_object, {"jobs": {text: {"run": text}}})
                assert definition is not None
                assert definition.jobs[0].steps[0].run == text
                ends_well(load_yaml, f"jobs: {{{text}: {{run: {text}}}}}")


def test_real_graphs() -> None:
    seen = 0
    for line in gzip.decompress((Path(FOLDER) / "dag/dags.ndjson.gz").read_bytes()).splitlines():
        dag = json.loads(line)
        ids = {task["id"] for task in dag["tasks"]}
        jobs = {
            task["id"]: {"executor": "noop", "needs": [need for need in task["needs"] if need in ids]}
            for task in dag["tasks"]
        }
        definition, problems = outcome(load_json_object, {"jobs": jobs})
        too_large = len(jobs) > 10_000 or sum(len(set(job["needs"])) for job in jobs.values()) > 100_000
        assert (definition is None) == (dag["metrics"]["cyclic"] or too_large), dag["name"]
        if dag["metrics"]["cyclic"]:
            circles = [problem.message.partition(": ")[2].split(" → ") for problem in problems]
            assert all(circle[0] == circle[-1] and len(circle) > 1 for circle in circles), dag["name"]
        if definition is not None:
            assert {
                (definition.jobs[parent].name, definition.jobs[child].name)
                for parent, child in definition.edges
            } == {(need, name) for name, job in jobs.items() for need in job["needs"]}
            seen += 1
    assert seen


def test_files_of_other_systems() -> None:
    for file in sorted((Path(FOLDER) / "ci").glob("*.ndjson")):
        for line in file.read_text().splitlines():
            ends_well(load_json_object, json.loads(line))
            ends_well(load_yaml, line)
