"""From a definition and a request to what intake inserts."""

from __future__ import annotations

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import RejectInput
from penstock.definition import Definition, JobSpec, Step, check, load_json_object, load_yaml, plan


def definition(text: str) -> Definition:
    return check(load_yaml(text))


def test_a_noop_job_is_tiny() -> None:
    made = plan(check(load_json_object({"jobs": {"a": {"executor": "noop"}}})))
    (job,) = made.jobs
    assert made.name == "pipeline"
    assert made.edges == []
    assert job.spec == {"executor": "noop"}
    assert (job.pool, job.labels, job.lane, job.condition, job.retry_max) == ("default", (), "normal", "", 0)
    assert (job.timeout_seconds, job.grace_seconds, job.needs, job.stage) == (3600, 30, (), "")
    assert job.continue_on_error is False


def test_a_spec_holds_all_a_runner_needs_and_decodes_to_it() -> None:
    made = plan(
        definition(
            """
env: { A: file, B: file }
jobs:
  a: { run: "echo hello\\necho again" }
  b:
    needs: [a, a]
    shell: bash
    env: { B: job }
    timeout: { run: 10m, queue: 2h, cancel-grace: 5s }
    steps:
      - { id: one, name: First, run: ls, shell: sh, env: { C: step }, timeout: 1m }
      - { run: pwd, continue-on-error: true, working-directory: src }
"""
        )
    )
    first, second = made.jobs
    assert first.spec == {
        "steps": [{"name": "echo hello", "run": "echo hello\necho again"}],
        "env": {"A": "file", "B": "file"},
    }
    assert second.needs == ("a",)
    assert second.spec == {
        "steps": [
            {"name": "First", "run": "ls", "id": "one", "shell": "sh", "env": {"C": "step"}, "timeout": 60},
            {"name": "pwd", "run": "pwd", "continue_on_error": True, "working_directory": "src"},
        ],
        "env": {"A": "file", "B": "job"},
        "timeout": 600,
        "queue": 7200,
        "grace": 5,
        "shell": "bash",
    }
    spec = msgspec.json.decode(orjson.dumps(second.spec), type=JobSpec)
    assert spec == JobSpec(
        steps=(
            Step(name="First", run="ls", id="one", shell="sh", env={"C": "step"}, timeout=60),
            Step(name="pwd", run="pwd", continue_on_error=True, working_directory="src"),
        ),
        env={"A": "file", "B": "job"},
        timeout=600,
        queue=7200,
        grace=5,
        shell="bash",
    )
    assert msgspec.convert(first.spec, JobSpec).executor == "process"


def test_a_default_written_out_is_left_out() -> None:
    (job,) = plan(
        definition("jobs: {a: {executor: process, timeout: {run: 1h, cancel-grace: 30s}, run: x}}")
    ).jobs
    assert set(job.spec) == {"steps"}


def test_the_nearer_to_the_command_the_stronger() -> None:
    made = plan(
        definition(
            "env: {A: 1, B: 1, C: 1, D: 1}\n"
            "defaults: {env: {B: 2, C: 2, D: 2}}\n"
            "jobs: {a: {run: x, env: {D: 4}}}"
        ),
        env={"C": "3", "D": "3", "INPUT_X": "env"},
        inputs={"target-host": "prod", "x": "input"},
    )
    assert made.jobs[0].spec["env"] == {
        "A": "1", "B": "2", "C": "3", "D": "4", "INPUT_TARGET_HOST": "prod", "INPUT_X": "env",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "request_priority", "branch", "lanes"),
    [
        ("", None, "topic", ["critical", "normal"]),
        ("", None, "main", ["critical", "high"]),
        ("priority: 2", None, "main", ["critical", "normal"]),
        ("priority: critical", "high", "topic", ["critical", "high"]),
        ("priority: critical", 1, "main", ["critical", "normal"]),
    ],
)
def test_lanes(file: str, request_priority: str | int | None, branch: str, lanes: list[str]) -> None:
    made = plan(
        definition(f"{file}\njobs: {{a: {{run: x, priority: critical}}, b: {{run: x}}}}"),
        request_priority=request_priority,
        git={"branch": branch, "default_branch": "main", "sha": "0" * 40},
        trigger="manual",
    )
    assert [job.lane for job in made.jobs] == lanes


def test_git_without_branches() -> None:
    made = plan(definition("jobs: {a: {run: x}}"), git={"repo": "r", "branch": None}, trigger="push")
    assert made.jobs[0].lane == "normal"


@pytest.mark.parametrize(
    ("request_fields", "problem"),
    [
        ({"request_priority": "urgent"}, "priority: priority 'urgent' is not one of critical"),
        ({"request_priority": 0}, "priority: priority 0"),
        ({"env": {"A B": "1"}}, 'env["A B"]: this is not a name of a variable'),
        ({"env": {"A": 1}}, "env.A: expected text, got the number 1"),
        ({"env": {"A": "\0"}}, "env.A: U+0000"),
        ({"inputs": {"a": "\ud800"}}, "inputs.a: half a character"),
        ({"inputs": {"a-b": "1", "a_b": "2"}}, "inputs.a_b: two inputs have the same variable: INPUT_A_B"),
        ({"inputs": {"": "1"}}, "an input needs a name"),
        ({"env": {"A": "x" * 200_000}}, "too much for 1 jobs"),
    ],
)
def test_a_request_that_is_no_good(request_fields: dict[str, object], problem: str) -> None:
    with pytest.raises(RejectInput) as caught:
        plan(definition("jobs: {a: {run: x}}"), **request_fields)  # type: ignore[arg-type]
    assert problem in str(caught.value)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["linux", "x64", "gpu", "größe=xl"]), max_size=6))
def test_labels_are_sorted_and_unique(labels: list[str]) -> None:
    made = plan(check(load_json_object({"jobs": {"a": {"executor": "noop", "runs-on": labels}}})))
    assert made.jobs[0].labels == tuple(sorted(set(labels)))


def test_a_job_s_scripts_must_fit_into_a_grant() -> None:
    definition = check(load_json_object({"jobs": {"big": {"run": "x" * 1_048_577}, "small": {"run": "x"}}}))
    with pytest.raises(RejectInput) as refused:
        plan(definition)
    assert [problem.path for problem in refused.value.problems] == ["jobs.big"]
