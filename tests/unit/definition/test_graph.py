"""Needs, stages and cycles."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import Problem, RejectInput
from penstock.definition import check, load_json_object, load_yaml
from penstock.definition.graph import find_cycles


def edges_of(jobs: dict[str, Any], stages: list[str] | None = None) -> set[tuple[str, str]]:
    """(parent, child) by names."""
    full = {name: {"executor": "noop", **job} for name, job in jobs.items()}
    definition = check(load_json_object({"jobs": full} | ({"stages": stages} if stages else {})))
    assert len(set(definition.edges)) == len(definition.edges)
    return {(definition.jobs[a].name, definition.jobs[b].name) for a, b in definition.edges}


def refused(jobs: dict[str, Any], stages: list[str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(RejectInput) as caught:
        edges_of(jobs, stages)
    return caught.value.problems


def test_needs_by_list_and_by_name_folded() -> None:
    assert edges_of({"a": {}, "b": {"needs": "a"}, "c": {"needs": ["b", "a", "b"]}, "d": {"needs": []}}) == {
        ("a", "b"), ("b", "c"), ("a", "c"),
    }  # fmt: skip


def test_a_stage_waits_for_the_nearest_earlier_one_that_has_jobs() -> None:
    jobs = {
        "deploy": {"stage": "deploy"},
        "unit": {"stage": "test"},
        "lint": {"stage": "test"},
        "eager": {"stage": "deploy", "needs": ["lint"]},
        "at-once": {"stage": "deploy", "needs": []},
        "free": {},
        "after": {"stage": "after"},
    }
    assert edges_of(jobs, ["test", "nothing", "deploy", "after"]) == {
        ("unit", "deploy"), ("lint", "deploy"), ("lint", "eager"),
        ("deploy", "after"), ("eager", "after"), ("at-once", "after"),
    }  # fmt: skip


def test_unknown_and_own_names() -> None:
    found = refused({"build": {}, "test": {"needs": ["biuld", "test", "zzz"]}})
    assert [(p.path, p.message, p.hint) for p in found] == [
        ("jobs.test.needs[0]", 'there is no job "biuld"', 'did you mean "build"?'),
        ("jobs.test.needs[1]", "a job cannot need itself: test → test", "remove it"),
        ("jobs.test.needs[2]", 'there is no job "zzz"', "name a key of `jobs`"),
    ]


def test_hints_have_a_budget() -> None:
    wanted = {f"job-{at}": {"needs": [f"jbo-{at}"]} for at in range(200)}
    found = refused(wanted)
    assert len(found) == 200
    assert found[0].hint == 'did you mean "job-0"?'
    assert found[-1].hint == "name a key of `jobs`"


def test_places_of_names_that_are_none() -> None:
    found = refused(
        {"a": {}, "b": {"needs": ["a", "a", 5, "", "c"]}, "d": {"needs": "c"}, "e": {"needs": ""}}
    )
    assert [(p.path, p.message) for p in found] == [
        ("jobs.b.needs[2]", "expected a job's name, got the number 5"),
        ("jobs.b.needs[3]", 'expected a job\'s name, got the text ""'),
        ("jobs.e.needs", 'expected a job\'s name, got the text ""'),
        ("jobs.b.needs[4]", 'there is no job "c"'),
        ("jobs.d.needs", 'there is no job "c"'),
    ]


def test_a_cycle_is_named_as_a_path_from_its_first_job() -> None:
    (problem,) = refused({"z": {}, "b": {"needs": ["c", "z"]}, "c": {"needs": "a"}, "a": {"needs": ["b"]}})
    assert problem.message == "jobs wait for each other in a circle: b → c → a → b"
    assert problem.path == "jobs.b.needs"


def test_each_cycle_is_named() -> None:
    found = refused({"a": {"needs": "b"}, "b": {"needs": "a"}, "c": {"needs": "d"}, "d": {"needs": "c"}})
    assert [p.message.split(": ")[1] for p in found] == ["a → b → a", "c → d → c"]


def test_a_cycle_through_stages_says_so() -> None:
    (problem,) = refused({"a": {"stage": "one", "needs": "b"}, "b": {"stage": "two"}}, ["one", "two"])
    assert problem.message.endswith("a → b → a")
    assert '"b" waits for the stage before its own' in problem.hint


def test_the_line_of_a_cycle() -> None:
    with pytest.raises(RejectInput, match=r"line 3, column 5: jobs.a.needs: .* a → b → a"):
        check(load_yaml("jobs:\n  a:\n    needs: b\n    run: x\n  b: {needs: a, run: x}\n"))


def test_a_cycle_of_ten_thousand() -> None:
    jobs = {f"j{at}": {"needs": f"j{(at + 1) % 10_000}"} for at in range(10_000)}
    (problem,) = refused(jobs)
    assert "j0 → j1 → j2" in problem.message
    assert "(9,981 more)" in problem.message
    assert problem.message.endswith("j9999 → j0")


def test_a_chain_of_ten_thousand_written_backwards() -> None:
    jobs = {f"j{at}": {"needs": [f"j{at + 1}"] if at < 9_999 else []} for at in range(10_000)}
    assert len(edges_of(jobs)) == 9_999


def test_too_many_edges_are_counted_not_made() -> None:
    by_stage = {f"j{at}": {"stage": "ab"[at % 2]} for at in range(10_000)}
    (problem,) = refused(by_stage, ["a", "b"])
    assert problem.path == "stages"
    assert problem.message.startswith(
        "25,000,000 edges between jobs; 100,000 is the limit (25,000,000 of them"
    )
    by_needs = {f"j{at}": {"needs": [f"j{before}" for before in range(at)]} for at in range(460)}
    (problem,) = refused(by_needs)
    assert problem.message == "105,570 edges between jobs; 100,000 is the limit"
    assert "noop" in problem.hint


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 8), st.data())
def test_cycles_against_graphlib(count: int, data: st.DataObject) -> None:
    nodes = st.integers(0, count - 1)
    edges = data.draw(st.lists(st.tuples(nodes, nodes).filter(lambda edge: edge[0] != edge[1]), max_size=20))
    parents: dict[int, list[int]] = {at: [] for at in range(count)}
    for parent, child in edges:
        parents[child].append(parent)
    try:
        list(TopologicalSorter(parents).static_order())
        cyclic = False
    except CycleError:
        cyclic = True
    cycles = find_cycles(count, edges)
    assert bool(cycles) == cyclic
    seen: set[int] = set()
    for cycle in cycles:
        assert cycle[0] == min(cycle)
        assert len(set(cycle)) == len(cycle)
        assert not seen & set(cycle)
        seen |= set(cycle)
        for waiting, needed in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert (needed, waiting) in edges
    assert not find_cycles(count, [edge for edge in edges if not seen & set(edge)])
