"""Jobs with a matrix become a job a cell, each of which reads as if it had been written by hand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import Problem, RejectInput
from penstock.definition import Definition, Job, check, limits, load_json_object, load_yaml, plan

HEAD = "jobs:\n  test:\n    strategy: { matrix: { os: [linux, mac], include: [{ os: mac, slow: true }] } }\n"


def good(text: str) -> Definition:
    return check(load_yaml(text))


def problems_of(source: str | dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(RejectInput) as caught:
        check(load_yaml(source) if isinstance(source, str) else load_json_object(source))
    return caught.value.problems


def job_of(text: str) -> tuple[Job, Job]:
    linux, mac = good(f"{HEAD}    {text}\n").jobs
    return linux, mac


def test_every_text_of_a_job_gets_its_values() -> None:
    definition = good(
        """
stages: [check]
jobs:
  build-x: { run: x }
  build-2: { run: x }
  test:
    strategy:
      fail-fast: false
      max-parallel: 2
      matrix: { n: [2], include: [{ n: 2, flag: true, t: 90, lane: high, cpu: 0.5, word: 007 }] }
    stage: check
    needs: ['build-${{ matrix.n }}']
    runs-on: { pool: 'p${{matrix.n}}', labels: ['l${{ matrix.n }}', fixed] }
    executor: my${{ matrix.n }}
    shell: sh${{ matrix.n }}
    timeout: { run: '${{ matrix.n }}m', queue: '${{ matrix.t }}' }
    retry: { max: '${{ matrix.n }}' }
    priority: ${{ matrix.lane }}
    resources: { cpu: '${{ matrix.cpu }}', memory: '${{ matrix.n }}Gi' }
    locks: ['${{ matrix.n }}', { name: 'l ${{ matrix.n }}', mode: shared }]
    env: { N: '${{ matrix.n }}', FLAG: '${{ matrix.flag }}', WORD: '[${{ matrix.word }}]' }
    steps:
      - name: step ${{ matrix.n }}
        run: echo ${{ matrix.n }} ${{ matrix.n }}
        continue-on-error: ${{ matrix.flag }}
        working-directory: d/${{ matrix.n }}
"""
    )
    (job,) = (job for job in definition.jobs if job.matrix)
    assert (job.name, job.key, job.matrix) == ("test (2, true, 90, high, 0.5, 007)", "test", "test")
    assert (job.needs, job.pool, job.labels) == (("build-2",), "p2", ("fixed", "l2"))
    assert (job.executor, job.shell, job.lane, job.retry_max) == ("my2", "sh2", "high", 2)
    assert (job.timeout_seconds, job.queue_seconds) == (120, 90)
    assert job.resources == {"cpu": 0.5, "memory": 2 * 1024**3}
    assert job.holds == (("lock", "2", 1), ("lock", "l 2", None), ("matrix", "test", 2))
    assert job.env == {"N": "2", "FLAG": "true", "WORD": "[007]"}
    (step,) = job.steps
    assert (step.name, step.run, step.working_directory) == ("step 2", "echo 2 2", "d/2")
    assert step.continue_on_error is True
    assert job.fail_fast is False


def test_what_a_cell_does_not_have_is_empty_or_left_out() -> None:
    linux, mac = job_of(
        "continue-on-error: ${{ matrix.slow }}\n    env:\n      S: ${{ matrix.slow }}\n    run: x"
    )
    assert (linux.continue_on_error, linux.env) == (False, {"S": ""})
    assert (mac.continue_on_error, mac.env) == (True, {"S": "true"})
    linux, mac = job_of("run: 'echo [${{ matrix.slow }}]'")
    assert (linux.steps[0].run, mac.steps[0].run) == ("echo []", "echo [true]")
    assert (linux.fail_fast, linux.holds) == (True, ())


def test_numbers_stay_as_written() -> None:
    definition = good(
        "jobs:\n  a:\n    strategy: { matrix: { v: [3.10] } }\n"
        "    env:\n      V: ${{ matrix.v }}\n      W: v${{ matrix.v }}\n"
        "    runs-on: ['${{ matrix.v }}']\n    run: x\n"
    )
    assert definition.jobs[0].env == {"V": "3.10", "W": "v3.10"}
    assert definition.jobs[0].labels == ("3.10",)


def test_who_needs_a_matrix_needs_all_of_it_and_stages_have_all_cells() -> None:
    text = """
stages: [build, ship]
jobs:
  first: { run: x }
  test: { run: x, needs: first, strategy: { matrix: { n: [1, 2] } } }
  last: { run: x, needs: [test, first] }
  build: { run: x, stage: build, strategy: { matrix: { n: [1, 2] } } }
  ship: { run: x, stage: ship, strategy: { matrix: { n: [1, 2] } } }
"""
    definition = good(text)
    named = [(definition.jobs[a].name, definition.jobs[b].name) for a, b in definition.edges]
    assert sorted(named) == [
        ("build (1)", "ship (1)"), ("build (1)", "ship (2)"),
        ("build (2)", "ship (1)"), ("build (2)", "ship (2)"),
        ("first", "last"), ("first", "test (1)"), ("first", "test (2)"),
        ("test (1)", "last"), ("test (2)", "last"),
    ]  # fmt: skip
    assert next(job for job in plan(definition).jobs if job.name == "last").needs == ("test", "first")


def test_a_cell_may_need_another_job_by_its_value() -> None:
    text = """
jobs:
  build-a: { run: x }
  build-b: { run: x }
  test: { run: x, needs: ['build-${{ matrix.n }}'], strategy: { matrix: { n: [a, b] } } }
"""
    assert good(text).edges == [(0, 2), (1, 3)]


def test_a_cell_cannot_be_needed_alone() -> None:
    text = f"{HEAD}    run: x\n  last: {{ run: x, needs: [test (linux)] }}\n"
    (problem,) = problems_of(text)
    assert (problem.line, problem.path) == (5, "jobs.last.needs[0]")
    assert problem.message == 'there is no job "test (linux)"'
    assert problem.hint == 'write "test", which means all cells of its matrix'


# In each job: where the problem is (a ▸ before it), its path, and parts of its message and of its hint.
@pytest.mark.parametrize(
    ("marked", "path", "message", "hint"),
    [
        ("run: x ▸${{ matrix.solw }} y", "run", 'the matrix has no "solw"', "did you mean `matrix.slow`?"),
        ("run: ▸${{ matrix.zzz }}", "run", 'the matrix has no "zzz"', "it has os, slow"),
        (
            "run: ${{ matrix.os }} ▸${{ github.sha }}",
            "run",
            "`${{ … }}` is not supported yet",
            "CI_COMMIT_SHA",
        ),
        ("run: ${{ matrix.os }} ▸${{ matrix.os || 1 }}", "run", "not supported yet (in ", ""),
        ("continue-on-error: ▸${{ matrix.zz }}\n    run: x", "continue-on-error", 'no "zz"', ""),
        ("runs-on: [▸'a ${{ matrix.os }}']\n    run: x", "runs-on[0]", '"a linux" (in "test (linux)")', ""),
        ("timeout: ▸${{ matrix.slow }}\n    run: x", "timeout", 'got true (in "test (mac, true)")', ""),
        ("needs: ▸['${{ matrix.os }}']\n    run: x", "needs[0]", 'there is no job "linux"', ""),
        ("needs: ▸test\n    run: x", "needs", "a job cannot need itself: test → test", ""),
        ("stage: ▸s\n    run: x", "stage", 'there is no stage "s"', ""),
        ("run: x\n    ▸scirpt: x", "scirpt", "is not a key of a job", "write `run`"),
        ("locks: [▸'', a]\n    run: x", "locks[0]", "the text is empty", ""),
    ],
)
def test_a_mistake_is_told_once_where_it_stands(marked: str, path: str, message: str, hint: str) -> None:
    text = f"{HEAD}    {marked}\n"
    before = text[: text.index("▸")]
    if path == "needs[0]":  # the mark is before the bracket: YAML shows it, too
        before += "["
    (problem,) = problems_of(text.replace("▸", ""))
    assert (problem.line, problem.column) == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    assert problem.path == f"jobs.test.{path}"
    assert message in problem.message
    assert hint in problem.hint


def test_all_problems_of_the_first_cell_that_has_some_at_a_place_are_told() -> None:
    found = problems_of(f"{HEAD}    run: ${{{{ matrix.aa }}}} ${{{{ matrix.bb }}}}\n    timeout: soon\n")
    assert [(problem.path, problem.message.partition(",")[0]) for problem in found] == [
        ("jobs.test.run", 'the matrix has no "aa"'),
        ("jobs.test.run", 'the matrix has no "bb"'),
        ("jobs.test.timeout", "expected a duration such as 90s"),
    ]


def test_a_circle_through_a_matrix_is_told_once() -> None:
    jobs = {
        "a": {"executor": "noop", "needs": "b", "strategy": {"matrix": {"n": [1, 2, 3]}}},
        "b": {"executor": "noop", "needs": "a", "strategy": {"matrix": {"n": [1, 2, 3]}}},
    }
    (problem,) = problems_of({"jobs": jobs})
    assert problem.message == "jobs wait for each other in a circle: a → b → a"


@pytest.mark.parametrize(
    ("strategy", "path", "message"),
    [
        ("▸5", "", "expected an object, got the number 5"),
        ("▸", "", "expected an object, got nothing"),
        ("{ fail-fast: true }", "", "`strategy` needs `matrix`"),
        ("{ ▸parallel: 4 }", ".parallel", "is not a key of `strategy`"),
        ("{ ▸include: [] }", ".include", "is not a key of `strategy`"),
        ("{ matrix: { a: [1] }, fail-fast: ▸yes }", ".fail-fast", "expected true or false"),
        ("{ matrix: { a: [1] }, max-parallel: ▸0 }", ".max-parallel", "expected a whole number from 1"),
        ("{ matrix: { a: [1] }, max-parallel: ▸true }", ".max-parallel", "expected a whole number from 1"),
        ("{ matrix: { a: [1, ▸[2]] } }", ".matrix.a[1]", "got a list"),
    ],
)
def test_a_strategy_that_is_no_good(strategy: str, path: str, message: str) -> None:
    job = f"    strategy: {strategy}\n    run: ${{{{ matrix.unknown }}}}\n"
    text = f"jobs:\n  t:\n{job}  u: {{ needs: t, run: x }}\n"
    (problem,) = problems_of(text.replace("▸", ""))
    assert problem.path == f"jobs.t.strategy{path}"
    assert message in problem.message
    if "▸" in strategy[1:]:
        assert (problem.line, problem.column) == (3, 15 + strategy.index("▸"))


def test_expressions_without_a_matrix_are_refused() -> None:
    first, second = problems_of(
        "defaults: { shell: '${{ matrix.a }}' }\njobs: { a: { run: '${{ matrix.a }}' } }"
    )
    assert first.hint == second.hint
    assert "only jobs with `strategy: {matrix: …}`" in first.hint


def test_all_cells_count_as_jobs() -> None:
    def jobs(count: int, cells: int) -> dict[str, Any]:
        strategy = {"matrix": {"n": list(range(cells))}}
        return {"jobs": {f"j{at}": {"executor": "noop", "strategy": strategy} for at in range(count)}}

    assert len(check(load_yaml(json.dumps(jobs(4, 250)))).jobs) == 1_000
    (problem,) = problems_of(json.dumps(jobs(6, 201)))
    assert problem.path == "jobs.j4.strategy.matrix"
    assert problem.message == "with the cells up to here there are 1,006 jobs; 1,000 is the limit"
    assert problem.hint == "as JSON, 10,000 are taken"
    (problem,) = problems_of(jobs(9_000, 256))
    assert problem.message == "with the cells up to here there are 10,020 jobs; 10,000 is the limit"


def test_edges_between_cells_are_counted_not_made() -> None:
    strategy = {"matrix": {"n": list(range(256))}}
    names = [f"j{at}" for at in range(12)]
    jobs = {
        name: {"executor": "noop", "strategy": strategy, "needs": names[:at]} for at, name in enumerate(names)
    }
    (problem,) = problems_of({"jobs": jobs})
    assert problem.message == f"{66 * 256 * 256:,} edges between jobs; 100,000 is the limit"


def test_cells_are_not_written_out_without_bound() -> None:
    strategy = {"matrix": {"n": list(range(256))}}
    (problem,) = problems_of({"jobs": {"a": {"run": "x" * 100_000, "strategy": strategy}}})
    assert problem.path == "jobs.a.strategy.matrix"
    assert problem.message == "with the cells up to here the jobs are too large"
    assert "16,777,216 bytes is the limit" in problem.hint
    long = {"matrix": {"n": ["x" * 1_000, *"abcdef"]}}
    (problem,) = problems_of({"jobs": {"a": {"run": "${{ matrix.n }}" * 50_000, "strategy": long}}})
    assert "too large" in problem.message


def test_scripts_of_cells_that_are_too_large_are_told_once() -> None:
    job = {"run": "x" * (limits.MAX_SCRIPT_BYTES + 1), "strategy": {"matrix": {"n": [1, 2, 3]}}}
    with pytest.raises(RejectInput) as caught:
        plan(check(load_json_object({"jobs": {"a": job}})))
    assert [problem.path for problem in caught.value.problems] == ["jobs.a"]


def test_deep_and_broken_values_are_refused() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [{"a": deep}]
    for strategy in (
        deep,
        {"matrix": deep},
        {"matrix": {"a": deep}},
        {"matrix": {"a": [1], "include": deep}},
    ):
        assert problems_of({"jobs": {"a": {"run": "x", "strategy": strategy}}})
    assert problems_of({"jobs": {"a": {"env": deep, "strategy": {"matrix": {"a": [1]}}, "run": deep}}})


value = st.sampled_from(["x", "y-1", "3.10", "z z"]) | st.integers(0, 99) | st.booleans()
text = st.lists(
    st.sampled_from(["${{ matrix.a }}", "${{matrix.b}}", "${{ matrix.c }}", "-", " word "]),
    min_size=1,
    max_size=4,
).map("".join)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(value, min_size=1, max_size=3, unique_by=str),
    st.lists(value, min_size=1, max_size=3, unique_by=str),
    text,
    st.dictionaries(st.sampled_from("VW"), text, max_size=2),
)
def test_a_cell_is_the_job_that_one_would_have_written(
    first: list[Any], second: list[Any], script: str, env: dict[str, str]
) -> None:
    matrix = {"a": first, "b": second, "include": [{"c": 1, "a": first[0]}]}
    job = {"run": f"echo {script}", "env": env, "locks": [f"lock {script}"]}

    def written(a: Any, b: Any) -> dict[str, Any]:
        data = json.dumps(job)
        for name, one in (("a", a), ("b", b), ("c", 1 if a is first[0] else "")):
            shown = one if isinstance(one, str) else json.dumps(one)
            data = data.replace(f"${{{{ matrix.{name} }}}}", shown).replace(f"${{{{matrix.{name}}}}}", shown)
        loaded: dict[str, Any] = json.loads(data)
        return loaded

    by_matrix = check(load_json_object({"jobs": {"t": {**job, "strategy": {"matrix": matrix}}}})).jobs
    by_hand = {f"{at} {inner}": written(a, b) for at, a in enumerate(first) for inner, b in enumerate(second)}
    expected = check(load_json_object({"jobs": by_hand})).jobs
    assert [msgspec.structs.replace(made, name="", matrix="", fail_fast=False) for made in by_matrix] == [
        msgspec.structs.replace(made, name="") for made in expected
    ]


def test_what_has_no_expressions_is_read_once_for_all_cells() -> None:
    env = "".join(f"      A{at}: x\n" for at in range(3_000))
    cells = ", ".join(map(str, range(256)))
    head = f"jobs:\n  test:\n    strategy: {{ matrix: {{ n: [{cells}] }} }}\n    env:\n"
    first, *_, last = good(f"{head}{env}    run: echo ${{{{ matrix.n }}}}\n").jobs
    assert (len(first.env), first.env is last.env) == (3_000, True)
    assert last.steps[0].run == "echo 255"
    (problem,) = problems_of(f"{head}{env}      N: ${{{{ matrix.n }}}}\n    run: x\n")
    assert problem.message == (
        "with the cells up to here there are 768,512 values to fill in; 100,000 is the limit"
    )


def test_a_fault_in_what_cells_share_is_told_once() -> None:
    (problem,) = problems_of(f"{HEAD}    run: ${{{{ matrix.os }}}}\n    env: {{ 9A: x }}\n")
    assert problem.path == 'jobs.test.env["9A"]'
