"""What a definition is refused for, all at once, with place and remedy; and what a good one becomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.errors import Problem, RejectInput
from penstock.definition import Definition, check, limits, load_json_object, load_yaml, shape

FILES = Path(__file__).parent / "files"


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(RejectInput) as caught:
        check(load_yaml(text))
    return caught.value.problems


def good(text: str) -> Definition:
    return check(load_yaml(text))


def test_a_full_example() -> None:
    definition = good(
        """
name: shop
on: { push: { branches: [main] } }
env: { A: file, VERSION: 3.10, FLAG: true, COUNT: 3 }
priority: high
stages: [check, deploy]
defaults:
  timeout: { run: 15m, cancel-grace: 5s }
  retry: { max: 2 }
  shell: bash
  env: { A: defaults }
  runs-on: [linux]
  continue-on-error: true
jobs:
  lint: { stage: check, run: ruff check . }
  test:
    stage: check
    runs-on: { pool: big, labels: [x64, linux, x64] }
    timeout: 1h
    priority: 9
    continue-on-error: false
    steps:
      - id: unit
        name: Unit tests
        run: |
          make test
          make more
        shell: sh
        env: { N: 1 }
        continue-on-error: true
        timeout: 10m
        working-directory: src
      - run: ls
  tell: { stage: deploy, if: always(), executor: noop }
"""
    )
    assert definition.name == "shop"
    assert definition.on == {"push": {"branches": ["main"]}}
    assert definition.env == {"A": "defaults", "VERSION": "3.10", "FLAG": "true", "COUNT": "3"}
    assert definition.lane == "high"
    assert definition.edges == [(0, 2), (1, 2)]
    lint, test, tell = definition.jobs
    assert (lint.labels, lint.pool, lint.shell, lint.retry_max) == (("linux",), "default", "bash", 2)
    assert (lint.timeout_seconds, lint.grace_seconds, lint.continue_on_error) == (900, 5, True)
    assert lint.needs is None
    assert [(step.name, step.run) for step in lint.steps] == [("ruff check .", "ruff check .")]
    assert (test.labels, test.pool, test.lane) == (("linux", "x64"), "big", "critical")
    assert (test.timeout_seconds, test.grace_seconds, test.continue_on_error) == (3600, 5, False)
    first, second = test.steps
    assert (first.id, first.name, first.run) == ("unit", "Unit tests", "make test\nmake more\n")
    assert (first.shell, first.env, first.continue_on_error) == ("sh", {"N": "1"}, True)
    assert (first.timeout, first.working_directory) == (600, "src")
    assert (second.name, second.timeout) == ("ls", None)
    assert (tell.condition, tell.executor, tell.steps) == ("always", "noop", ())


# In each: where the problem is (a ▸ before it), its path, and parts of its message and of its hint.
IN_A_JOB = [
    ("run: x, ▸shel: b", "shel", "not a key of a job", "did you mean `shell`?"),
    ("run: x, ▸zzzz: b", "zzzz", "not a key of a job", "a job has stage, needs"),
    ("▸script: x", "script", "not a key of a job", "write `run`"),
    ("run: x, ▸depends_on: b", "depends_on", "not a key", "write `needs`"),
    ("run: x, ▸dependsOn: b", "dependsOn", "not a key", "write `needs`"),
    ("run: x, ▸tags: [b]", "tags", "not a key", "write `runs-on`"),
    ("run: x, ▸runs_on: [b]", "runs_on", "not a key", "write `runs-on`"),
    ("run: x, ▸runsOn: [b]", "runsOn", "not a key", "write `runs-on`"),
    ("run: x, ▸allow_failure: true", "allow_failure", "not a key", "continue-on-error"),
    ("run: x, ▸soft_fail: true", "soft_fail", "not a key", "continue-on-error"),
    ("run: x, ▸resource_group: b", "resource_group", "not a key", "write `locks: [name]`"),
    ("run: x, ▸interruptible: true", "interruptible", "not a key", "concurrency"),
    ("run: x, ▸timeout-minutes: 5", "timeout-minutes", "not a key", "such as 15m"),
    ("run: x, ▸allow_failur: 1", "allow_failur", "not a key", "continue-on-error"),
    ("run: x, ▸idempotency_key: b", "idempotency_key", "not a key", "`idempotency-key`"),
    ("run: x, ▸image: b", "image", "`image` is not supported yet", "runs-on"),
    ("run: x, ▸name: b", "name", "not a key", "its key under `jobs`"),
    ("steps: [{▸uses: x}]", "steps[0].uses", "not a key of a step", "actions are not run"),
    ("steps: [{run: x, ▸if: always()}]", "steps[0].if", "`if` is not supported yet", ""),
    ("run: x, retry: {▸on: [x]}", "retry.on", "`on` is not supported yet", ""),
    ("run: x, retry: {▸backoff: 1}", "retry.backoff", "not supported yet", ""),
    ("run: x, ▸steps: [{run: y}]", "steps", "`run` or `steps`, not both", ""),
    ("run: ▸", "run", "expected text, got nothing", "remove the key"),
    ("run: ▸' '", "run", "the text is empty", ""),
    ("run: ▸5", "run", "expected text, got the number 5", "put it in quotes"),
    ("run: ▸[x]", "run", "expected text, got a list", ""),
    ("steps: ▸x", "steps", "expected a list of steps", "- run: …"),
    ("▸steps: []", "steps", "there are no steps", ""),
    ("steps: [▸x]", "steps[0]", "expected an object", "- run: …"),
    ("steps: [▸{name: x}]", "steps[0]", "this step has nothing to run", ""),
    ("steps: [{run: x, id: b}, {run: x, id: ▸b}]", "steps[1].id", "another step", ""),
    ("steps: [{run: x, id: ▸1b}]", "steps[0].id", "letters, digits", ""),
    ("run: x, shell: ▸1", "shell", "expected text", ""),
    ("run: x, executor: ▸Noop!", "executor", "process, noop or a plug-in's name", ""),
    ("run: x, runs-on: {pool: ▸a/b}", "runs-on.pool", "1 to 63 letters", ""),
    ("run: x, runs-on: {▸group: b}", "runs-on.group", "not a key", "write `pool`"),
    ("run: x, runs-on: [▸a b]", "runs-on[0]", "without blanks", ""),
    ("run: x, runs-on: ▸5", "runs-on", "a list of labels", ""),
    ("run: x, timeout: ▸soon", "timeout", "expected a duration such as 90s", ""),
    ("run: x, timeout: {run: ▸8d}", "timeout.run", "at most 7d", ""),
    ("run: x, retry: ▸2", "retry", "expected an object", "retry: {max: …}"),
    ("run: x, retry: {max: ▸21}", "retry.max", "from 0 to 20", ""),
    ("run: x, retry: {max: ▸true}", "retry.max", "from 0 to 20, got true", ""),
    ("run: x, priority: ▸hihg", "priority", "critical, high, normal", "did you mean high?"),
    ("run: x, priority: ▸11", "priority", "a number from 1 to 10", ""),
    ("run: x, priority: ▸5.5", "priority", "a number from 1 to 10", ""),
    ("run: x, priority: ▸{a: 1}", "priority", "got an object", ""),
    ("run: x, continue-on-error: ▸yes", "continue-on-error", "true or false", "YAML 1.2"),
    ("run: x, if: ▸true", "if", 'the condition "true" is not supported yet', "always()"),
    ("run: x, if: ▸cancelled()", "if", "not supported yet", "always()"),
    ("run: x, if: ▸git.branch == 'main'", "if", "not supported yet", "always()"),
    ("run: x, needs: ▸5", "needs", "a list of job names", ""),
    ("run: x, needs: [▸{job: b}]", "needs[0]", "a job's name", "name alone"),
    ("run: x, stage: ▸b", "stage", 'there is no stage "b"', "add it to `stages`"),
    ("run: 'echo ▸${{ b }}'", "run", "not supported yet", "$''{{"),
    ("run: x, continue-on-error: '▸${{ b }}'", "continue-on-error", "not supported yet", ""),
    ("run: x, timeout: '▸${{ b }}'", "timeout", "not supported yet", ""),
    ("run: x, runs-on: ['▸${{ b }}']", "runs-on[0]", "not supported yet", ""),
    ("run: x, needs: ['▸${{ b }}']", "needs[0]", "not supported yet", ""),
    ("steps: [{run: '▸${{'}]", "steps[0].run", "not supported yet", ""),
]  # fmt: skip
IN_THE_FILE = [
    ("▸{}", "", "a pipeline needs `jobs`", "jobs: {test: {run: make test}}"),
    ("▸jobs: {}", "jobs", "there are no jobs", "add one"),
    ("jobs: ▸[a]", "jobs", "expected an object of jobs by their names, got a list", "name: {run: …}"),
    ("jobs:▸", "jobs", "got nothing", ""),
    ("jobs: {a: ▸echo}", "jobs.a", 'expected an object, got the text "echo"', ""),
    ("jobs: {a: {run: x}}\n▸stage: [a]", "stage", "not a key of the pipeline", "key of a job"),
    ("jobs: {a: {run: x}}\n▸stagse: [a]", "stagse", "not a key", "did you mean `stages`?"),
    ("jobs: {a: {run: x}}\n▸interruptible: true", "interruptible", "not a key", "cancel-in-progress: true"),
    ("defaults: {▸run: x}\n...", "defaults.run", "not a key of `defaults`", "defaults.shell"),
    ("defaults: {▸image: x}\n...", "defaults.image", "not supported yet", ""),
    ("jobs: {▸a: {}}", "jobs.a", "nothing to run: expected `run` or `steps`", ""),
    ("stages: [built]\njobs: {a: {run: x, stage: ▸build}}", "jobs.a.stage", "no stage", 'mean "built"?'),
    ("name: ▸5\n...", "name", "expected text, got the number 5", "in quotes"),
    ('name: ▸"a\\nb"\n...', "name", "no control characters", ""),
    ("on: ▸5\n...", "on", "an object, a list or a name of events", ""),
    ("stages: ▸{a: 1}\n...", "stages", "expected a list of names", ""),
    ("stages: [a, ▸a]\n...", "stages[1]", 'the stage "a" appears twice', ""),
    ("stages: [▸1]\n...", "stages[0]", "expected text", "in quotes"),
    ("env: ▸[A=1]\n...", "env", "an object of names to values", "NAME: value"),
    ("env: {▸A-B: 1}\n...", "env.A-B", "not a name of a variable", "letters, digits"),
    ("env: {A: ▸}\n...", "env.A", "got nothing", 'write ""'),
    ("env: {A: ▸[1]}\n...", "env.A", "got a list", "as text"),
    ("env: {A: ▸.inf}\n...", "env.A", "out of range", ""),
    ("defaults: ▸5\n...", "defaults", "expected an object", ""),
    ('jobs: {▸"a\\tb": {run: x}}', 'jobs["a\\tb"]', "no control characters, this has U+0009", "another name"),
    ("jobs: {▸'': {run: x}}", 'jobs[""]', "a name is not empty", "another name"),
    ('jobs: {é: {run: x}, ▸"e\\u0301": {run: x}}', 'jobs["e\u0301"]', "there is another job", "NFC"),
    ("name: a ▸${{ b }}\n...", "name", "`${{ … }}` is not supported yet", "variable"),
    ("env: {A: '▸${{ b }}'}\n...", "env.A", "not supported yet", ""),
    ("priority: ▸${{ b }}\n...", "priority", "not supported yet", ""),
    ("jobs:\n  a:\n    run: >\n      one\n      ▸${{ b }}", "jobs.a.run", "not supported yet", ""),
]  # fmt: skip


def unmark(text: str) -> tuple[str, int, int]:
    """The text without its mark, and the line and column where that was."""
    before = text[: text.index("▸")]
    return text.replace("▸", ""), before.count("\n") + 1, len(before) - before.rfind("\n")


@pytest.mark.parametrize(("marked", "path", "message", "hint"), IN_A_JOB)
def test_each_mistake_in_a_job(marked: str, path: str, message: str, hint: str) -> None:
    text, line, column = unmark(f"jobs: {{a: {{{marked}}}}}")
    first = problems_of(text)[0]
    assert (first.line, first.column, first.path) == (line, column, f"jobs.a.{path}")
    assert message in first.message
    assert hint in first.hint


@pytest.mark.parametrize(("marked", "path", "message", "hint"), IN_THE_FILE)
def test_each_mistake_in_the_file(marked: str, path: str, message: str, hint: str) -> None:
    text, line, column = unmark(marked.replace("\n...", "\njobs: {a: {run: x}}"))
    first = problems_of(text)[0]
    assert (first.line, first.column, first.path) == (line, column, path)
    assert message in first.message
    assert hint in first.hint


@pytest.mark.parametrize("key", sorted({*shape.JOB.later} - {"image"}))
def test_a_key_to_come_is_the_only_problem_and_has_its_line(key: str) -> None:
    (problem,) = problems_of(f"jobs:\n  a:\n    run: x\n    {key}: {{ anything: [1] }}\n")
    assert (problem.line, problem.column, problem.message) == (4, 5, f"`{key}` is not supported yet")
    assert problem.hint


def test_everything_at_once_in_the_order_of_the_file() -> None:
    found = problems_of(
        "nmae: x\njobs:\n  b: { needs: c, run: x }\n  a: { scirpt: 1, timeout: soon }\n  a: {}\n"
    )
    assert [(p.line, p.path) for p in found] == [
        (1, "nmae"),
        (3, "jobs.b.needs"),
        (4, "jobs.a"),
        (4, "jobs.a.scirpt"),
        (4, "jobs.a.timeout"),
        (5, "jobs.a"),
    ]
    assert all(p.message for p in found)


def test_a_foreign_word_for_run_is_one_problem() -> None:
    assert len(problems_of("jobs: {a: {script: x}, b: {steps: [{uses: x}]}}")) == 2


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ("always()", "always"),
        ("ALWAYS( )", "always"),
        ("${{ always() }}", "always"),
        ("${{failure()}}", "failure"),
        ("success()", "success"),
        ("!cancelled()", "always"),
        ("${{ ! cancelled() }}", "always"),
    ],
)
def test_conditions(written: str, condition: str) -> None:
    assert good(f"jobs: {{a: {{run: x, if: {json.dumps(written)}}}}}").jobs[0].condition == condition


@pytest.mark.parametrize("on", ["push", "[push, pull_request]", "{push: {branches: ['**']}, pull_request: }"])
def test_on_is_kept_for_the_webhook_door(on: str) -> None:
    assert good(f"on: {on}\njobs: {{a: {{run: x}}}}").on is not None


def test_on_has_a_depth() -> None:
    value: Any = "x"
    for _ in range(100):
        value = {"a": [value]}
    with pytest.raises(RejectInput, match="on: nested deeper than 32 levels"):
        check(load_json_object({"on": value, "jobs": {"a": {"run": "x"}}}))


def test_a_plug_ins_executor_and_a_dry_run() -> None:
    definition = good("defaults: {executor: noop}\njobs: {a: {run: x}, b: {}, c: {executor: my_plugin-2}}")
    assert [job.executor for job in definition.jobs] == ["noop", "noop", "my_plugin-2"]


def test_numbers_of_jobs() -> None:
    def jobs(count: int) -> dict[str, Any]:
        return {"jobs": {f"j{at}": {"executor": "noop"} for at in range(count)}}

    assert len(check(load_json_object(jobs(10_000))).jobs) == 10_000
    with pytest.raises(RejectInput, match="10,001 jobs; 10,000 is the limit"):
        check(load_json_object(jobs(10_001)))
    assert len(check(load_yaml(json.dumps(jobs(1_000)))).jobs) == 1_000
    with pytest.raises(RejectInput, match="1,001 jobs; 1,000 is the limit"):
        check(load_yaml(json.dumps(jobs(1_001))))


def test_sizes_within_a_job() -> None:
    steps = [{"run": "x"}] * (limits.MAX_STEPS + 1)
    labels = [f"l{at}" for at in range(limits.MAX_LABELS + 1)]
    job = {"steps": steps, "runs-on": labels, "env": {"A": "x" * limits.MAX_ENV_BYTES}, "shell": "x" * 256}
    with pytest.raises(RejectInput) as caught:
        check(load_json_object({"stages": [str(at) for at in range(1_001)], "jobs": {"a": job}}))
    assert [p.message for p in caught.value.problems] == [
        "1,001 stages; 1,000 is the limit",
        "257 steps; 256 is the limit",
        "33 labels; 32 is the limit",
        "the variables have 65,539 bytes; 65,536 is the limit",
        "a name has at most 255 bytes",
    ]


def test_a_file_wide_env_is_not_multiplied_without_bound() -> None:
    obj = {"env": {"A": "x" * 60_000}, "jobs": {f"j{at}": {"executor": "noop"} for at in range(2_000)}}
    with pytest.raises(RejectInput, match="env: too much for 2,000 jobs"):
        check(load_json_object(obj))


def test_problems_have_a_bound_and_long_text_is_cut() -> None:
    obj = {"jobs": {"x" * 1_000 + str(at): {"y" * 100_000: 1, "priority": "z" * 50_000} for at in range(100)}}
    with pytest.raises(RejectInput) as caught:
        check(load_json_object(obj))
    assert len(caught.value.problems) == limits.MAX_PROBLEMS + 1
    assert caught.value.problems[-1].message == "there are more problems"
    assert all(len(str(p)) < 700 for p in caught.value.problems)


def test_an_object_has_paths_without_lines() -> None:
    with pytest.raises(RejectInput) as caught:
        check(load_json_object({"jobs": {"a": {"run": "x", "imge": 1}}}))
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.column) == ("jobs.a.imge", None, None)
    assert "image" in problem.hint


def test_a_large_file_of_another_dialect_has_only_keys_to_come_each_in_its_line() -> None:
    """A file that uses the whole language: nothing in it is a mistake, much is not built."""
    found = problems_of((FILES / "whole-language.yml").read_text())
    assert all("not supported yet" in p.message for p in found)
    lines = (FILES / "whole-language.yml").read_text().splitlines()
    expected = [at for at, line in enumerate(lines, 1) if line.endswith("# later")]
    assert [p.line for p in found] == expected


some_keys = st.sampled_from(
    [*shape.JOB.built, *shape.PIPELINE.built, *shape.STEP.built, "max", "pool", "labels", "script", "a"]
)
some_text = st.text(max_size=8) | st.sampled_from(["always()", "a", "15m", "${{ x }}"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | some_text,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(some_keys | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*shape.PIPELINE.built, "x"]), json_values, max_size=5), json_values)
def test_any_object_is_a_definition_or_refused(top: dict[str, Any], job: Any) -> None:
    top["jobs"] = {"a": job, "b": {"needs": ["a"], "executor": "noop"}}
    found: tuple[Problem, ...] = (Problem("none"),)
    try:
        assert isinstance(check(load_json_object(top)), Definition)
    except RejectInput as rejected:
        found = rejected.problems
    assert found
    assert all(p.message for p in found)
