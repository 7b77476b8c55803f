"""Cells of a matrix: which there are, in which order, with which names, as at GitHub."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import Problem, RejectInput
from penstock.definition import Definition, check, limits, load_json_object, load_yaml
from penstock.definition.matrix import name_of, read_matrix
from penstock.definition.report import Report
from penstock.definition.source import Source


def cells_of(matrix: dict[str, Any]) -> list[dict[str, Any]]:
    report = Report(Source({}, 1_000))
    cells = read_matrix(report, (), matrix).cells()
    report.finish()
    return [{key: value.data for key, value in cell.items()} for cell in cells]


def names_of(text: str) -> list[str]:
    return [job.name for job in check(load_yaml(text)).jobs]


def with_matrix(matrix: Any, **job: Any) -> Definition:
    full = {"executor": "noop", "strategy": {"matrix": matrix}, **job}
    return check(load_json_object({"jobs": {"test": full}}))


def refused(matrix: Any, **job: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(RejectInput) as caught:
        with_matrix(matrix, **job)
    found: tuple[Problem, ...] = caught.value.problems
    return [
        (problem.path.removeprefix("jobs.test.strategy."), problem.message, problem.hint) for problem in found
    ]


def test_the_first_key_is_the_slowest() -> None:
    assert [job.name for job in with_matrix({"version": [10, 12], "os": ["ubuntu", "windows"]}).jobs] == [
        "test (10, ubuntu)", "test (10, windows)", "test (12, ubuntu)", "test (12, windows)",
    ]  # fmt: skip


def test_the_example_of_github_s_documentation() -> None:
    include = [
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]
    assert cells_of({"fruit": ["apple", "pear"], "animal": ["cat", "dog"], "include": include}) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_a_matrix_of_include_alone() -> None:
    assert cells_of({"include": [{"a": 1}, {"a": 2, "b": True}]}) == [{"a": 1}, {"a": 2, "b": True}]


def test_exclude_goes_before_include_and_matches_by_some_keys() -> None:
    matrix = {
        "os": ["linux", "mac"],
        "py": [1, 2],
        "exclude": [{"os": "mac"}, {"os": "linux", "py": 1}],
        "include": [{"os": "mac", "py": 9}],
    }
    assert cells_of(matrix) == [{"os": "linux", "py": 2}, {"os": "mac", "py": 9}]


def test_numbers_are_called_and_compared_as_written() -> None:
    text = """
jobs:
  test:
    strategy:
      matrix:
        python: [3.9, 3.10, '3.11']
        fast: [true, false]
        exclude: [{ python: '3.10', fast: true }, { python: 3.11, fast: false }]
    run: x
"""
    assert names_of(text) == [
        "test (3.9, true)", "test (3.9, false)", "test (3.10, false)", "test (3.11, true)",
    ]  # fmt: skip


def test_a_name_has_all_values_that_are_not_empty() -> None:
    matrix = {"a": ["", "x"], "include": [{"a": "x", "more": "yes"}]}
    assert [job.name for job in with_matrix(matrix).jobs] == ["test", "test (x, yes)"]
    assert name_of("größe", {}) == "größe"


@pytest.mark.parametrize(
    ("matrix", "path", "message", "hint"),
    [
        (5, "matrix", "expected an object of lists, got the number 5", "matrix: {python:"),
        ("${{ fromJSON(x) }}", "matrix", "`${{ … }}` is not supported yet", ""),
        ({}, "matrix", "the matrix has no keys", "such as"),
        ({"include": []}, "matrix", "the matrix has no keys", "such as"),
        ({"a": 5}, "matrix.a", "expected a list of values, got the number 5", "brackets"),
        ({"a": "${{ x }}"}, "matrix.a", "`${{ … }}` is not supported yet", ""),
        ({"a": []}, "matrix.a", "the list has no values", "remove the key"),
        ({"a": ["${{ matrix.b }}"]}, "matrix.a[0]", "`${{ … }}` is not supported yet", "the matrix itself"),
        (
            {"a": [{"b": 1}]},
            "matrix.a[0]",
            "expected text, a number, true or false, got an object",
            "include",
        ),
        ({"a": [1, [2]]}, "matrix.a[1]", "expected text, a number, true or false, got a list", "include"),
        ({"a": [None]}, "matrix.a[0]", "expected text, a number, true or false, got nothing", ""),
        ({"a": ["x\ny"]}, "matrix.a[0]", "a value of a matrix has no control characters", "short ones"),
        ({"a": ["x" * 1_025]}, "matrix.a[0]", "a value of a matrix has at most 1,024 bytes", "short ones"),
        ({"a": ["x" * 600], "b": ["y" * 600]}, "matrix", "a name has at most 1,024 bytes", "shorter values"),
        ({"a b": [1]}, 'matrix["a b"]', '"a b" is not a key of a matrix', "letters"),
        ({"a": [1], "include": {"a": 1}}, "matrix.include", "expected a list of objects", "- { key"),
        ({"a": [1], "include": "${{ x }}"}, "matrix.include", "`${{ … }}` is not supported yet", ""),
        ({"a": [1], "include": [1]}, "matrix.include[0]", "expected an object of keys to values", ""),
        ({"a": [1], "include": [{}]}, "matrix.include[0]", "this entry has no keys", "remove it"),
        ({"a": [1], "include": [{"1": 1}]}, 'matrix.include[0]["1"]', "is not a key of a matrix", ""),
        ({"a": [1], "include": [{"b": [1]}]}, "matrix.include[0].b", "got a list", ""),
        ({"python": [1], "exclude": [{"pyhton": 1}]}, "matrix.exclude[0].pyhton", "no list of", "`python`"),
        ({"a": [1], "exclude": [{"zzz": 1}]}, "matrix.exclude[0].zzz", 'is called "zzz"', "before `include`"),
        ({"a": [1], "exclude": [{}]}, "matrix.exclude[0]", "this entry has no keys", "remove it"),
        ({"a": [1], "exclude": [{"a": 1}]}, "matrix.exclude", "it leaves no cells", "exclude less"),
        ({"a": [1, "1"]}, "matrix", 'two cells are named "test (1)"', "each value once"),
        ({"a": ["b, c", "b"], "d": ["d", "c, d"]}, "matrix", 'two cells are named "test (b, c, d)"', ""),
        ({"a": ["é", "e\u0301"]}, "matrix", "two cells are named", "each value once"),
        ({"a": list(range(257))}, "matrix.a", "257 of them; 256 is the limit", "several jobs"),
        ({"a": [1], "include": [{f"k{at}": 1 for at in range(33)}]}, "matrix.include[0]", "33 of them", ""),
        ({"a": [1], "include": [{f"k{at}": 1 for at in range(32)}]}, "matrix", "33 of them", ""),
        ({"include": [{"a": at} for at in range(257)]}, "matrix.include", "257 of them", "several jobs"),
        ({f"k{at}": [1] for at in range(33)}, "matrix", "33 of them; 32 is the limit", "several jobs"),
    ],
)
def test_each_mistake(matrix: Any, path: str, message: str, hint: str) -> None:
    found = refused(matrix)
    assert len(found) == 1
    assert found[0][0] == path
    assert message in found[0][1]
    assert hint in found[0][2]


def test_a_cell_may_not_have_the_name_of_another_job() -> None:
    strategy = {"matrix": {"a": ["b"]}}
    jobs = {"test": {"run": "x", "strategy": strategy}, "test (b)": {"run": "x"}}
    with pytest.raises(RejectInput, match=r'a cell is named "test \(b\)", as another job'):
        check(load_json_object({"jobs": jobs}))
    # Nor may two cells of different jobs.
    jobs = {
        "a": {"run": "x", "strategy": {"matrix": {"k": ["b) (c"]}}},
        "a (b)": {"run": "x", "strategy": {"matrix": {"k": ["c"]}}},
    }
    with pytest.raises(RejectInput, match=r'a cell is named "a \(b\) \(c\)", as another job'):
        check(load_json_object({"jobs": jobs}))


def test_the_limit_of_cells() -> None:
    sixteen = list(range(16))
    assert len(with_matrix({"a": sixteen, "b": sixteen}).jobs) == limits.MAX_MATRIX_CELLS
    more = {"include": [{"a": 99, "b": at} for at in range(17)]}
    excluded = {"exclude": [{"a": 1}]}
    assert len(with_matrix({"a": sixteen, "b": list(range(17)), **excluded}).jobs) == 255
    assert (
        len(with_matrix({"a": sixteen, "b": sixteen, **excluded, "include": more["include"][:16]}).jobs)
        == 256
    )
    assert refused({"a": list(range(100)), "b": list(range(100))})[0][1] == (
        "the matrix has 10,000 cells; 256 is the limit"
    )
    for matrix in (
        {"a": sixteen, "b": sixteen, **excluded, **more},
        {"a": list(range(100)), "b": list(range(100)), **excluded},
        {"include": [{"a": at} for at in range(200)], "a": list(range(200, 257)), "exclude": [{"a": 0}]},
    ):
        assert refused(matrix) == [
            (
                "matrix",
                "the matrix has more than 256 cells, which is the limit",
                "several jobs may have a matrix each",
            )
        ]


def test_a_matrix_that_takes_too_long_is_refused_before_it_does() -> None:
    axis = list(range(10))
    huge = {**{f"k{at}": axis for at in range(30)}, "exclude": [{"k0": 1}]}
    ((path, message, _),) = refused(huge)
    assert path == "matrix"
    assert message == "over 1,000,000 combinations are too many to look for those to exclude"
    pairs = {f"k{at}": [0, 1] for at in range(19)}
    ((_, message, _),) = refused({**pairs, "exclude": [{"k0": 0}, {"k0": 1}]})
    assert message == "524,288 combinations are too many to look for those to exclude"
    matrix = {"a": axis, "b": axis, "exclude": [{"a": 11, "b": at} for at in range(250)]}
    jobs = {f"j{at}": {"executor": "noop", "strategy": {"matrix": matrix}} for at in range(90)}
    with pytest.raises(RejectInput, match=r"jobs\.j3\.strategy\.matrix: 100 combinations are too many"):
        check(load_json_object({"jobs": jobs}))


small = st.sampled_from(["x", "y", "z"])
entries = st.lists(st.dictionaries(st.sampled_from("abcd"), small, min_size=1, max_size=3), max_size=4)
axes = st.dictionaries(
    st.sampled_from("abc"), st.lists(small, min_size=1, max_size=3, unique=True), max_size=3
)


@settings(deadline=None, max_examples=300)
@given(axes, entries, entries)
def test_cells_against_the_words_of_github(
    lists: dict[str, list[str]], include: list[dict[str, str]], exclude: list[dict[str, str]]
) -> None:
    """GitHub's rules word by word, on plain dicts."""
    exclude = [entry for entry in exclude if set(entry) <= set(lists)]
    originals = (
        [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())] if lists else []
    )
    originals = [cell for cell in originals if not any(entry.items() <= cell.items() for entry in exclude)]
    expected = [dict(cell) for cell in originals]
    added: list[dict[str, str]] = []
    for entry in include:
        extended = False
        for at, original in enumerate(originals):
            overwrites = [key for key in entry if key in original and original[key] != entry[key]]
            if not overwrites:
                expected[at] |= entry
                extended = True
        if not extended:
            added.append(entry)
    matrix: dict[str, Any] = {**lists}
    if include or not lists:
        matrix["include"] = include or [{"a": "x"}]
        added = added if include else [{"a": "x"}]
    assert cells_of({**matrix, "exclude": exclude}) == expected + added
