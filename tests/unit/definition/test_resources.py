"""`resources`, `locks` and `immediate` of jobs."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.errors import RejectInput
from penstock.definition import Job, check, load_json_object, load_yaml, plan


def job_of(text: str, head: str = "") -> Job:
    return check(load_yaml(f"{head}\njobs: {{ a: {{ run: x, {text} }} }}")).jobs[0]


def refused(text: str, head: str = "") -> tuple[int, int, str, str, str]:
    """Line, column, path, message and hint of the only problem; a ▸ in the text is left out."""
    with pytest.raises(RejectInput) as caught:
        job_of(text.replace("▸", ""), head)
    (problem,) = caught.value.problems
    return problem.line or 0, problem.column or 0, problem.path, problem.message, problem.hint


@pytest.mark.parametrize(
    ("written", "resources"),
    [
        ("{ cpu: 2 }", {"cpu": 2.0}),
        ("{ cpu: 0.25 }", {"cpu": 0.25}),
        ("{ cpu: '1.5' }", {"cpu": 1.5}),
        ("{ cpu: 500m }", {"cpu": 0.5}),
        ("{ memory: 4Gi }", {"memory": 4 * 1024**3}),
        ("{ memory: 512MiB }", {"memory": 512 * 1024**2}),
        ("{ memory: 1.5G }", {"memory": 1_500_000_000}),
        ("{ memory: 2000k }", {"memory": 2_000_000}),
        ("{ memory: 1048576 }", {"memory": 1024**2}),
        ("{ memory: '64Ti' }", {"memory": 64 * 1024**4}),
        ("{ arch: amd64 }", {"arch": "x86_64"}),
        ("{ arch: X64 }", {"arch": "x86_64"}),
        ("{ arch: ARM64 }", {"arch": "aarch64"}),
        ("{ arch: riscv64 }", {"arch": "riscv64"}),
        ("{ cpu: 1, memory: 1Gi, arch: aarch64 }", {"cpu": 1.0, "memory": 1024**3, "arch": "aarch64"}),
        ("{}", None),
    ],
)
def test_resources(written: str, resources: dict[str, Any] | None) -> None:
    found = job_of(f"resources: {written}").resources
    assert found == resources
    if found and "cpu" in found:
        assert isinstance(found["cpu"], float)
    assert (
        plan(check(load_yaml(f"jobs: {{ a: {{ run: x, resources: {written} }} }}"))).jobs[0].resources
        == resources
    )


def test_resources_of_defaults_are_merged_key_by_key() -> None:
    head = "defaults: { resources: { cpu: 4, arch: arm64 } }"
    assert job_of("resources: { cpu: 1, memory: 1Gi }", head).resources == {
        "cpu": 1.0, "memory": 1024**3, "arch": "aarch64",
    }  # fmt: skip
    assert job_of("shell: sh", head).resources == {"cpu": 4.0, "arch": "aarch64"}


# In each: where the problem is (a ▸ before it), its path, and parts of its message and of its hint.
@pytest.mark.parametrize(
    ("marked", "path", "message", "hint"),
    [
        ("resources: ▸4", "resources", "expected an object", ""),
        ("resources: { ▸cpus: 4 }", "resources.cpus", "not a key of `resources`", "write `cpu`"),
        ("resources: { ▸limits: {} }", "resources.limits", "not a key", "at once"),
        ("▸cpu: 4", "cpu", "not a key of a job", "`cpu` is a key of `resources`"),
        ("▸mem: 4Gi", "mem", "not a key of a job", "resources: {cpu: 2"),
        ("resources: { cpu: ▸0 }", "resources.cpu", "expected cores such as 2, 0.5 or 500m", ""),
        ("resources: { cpu: ▸.inf }", "resources.cpu", "expected cores", ""),
        ("resources: { cpu: ▸.nan }", "resources.cpu", "expected cores", ""),
        ("resources: { cpu: ▸4097 }", "resources.cpu", "at most 4,096", ""),
        ("resources: { cpu: ▸true }", "resources.cpu", "expected cores", ""),
        ("resources: { cpu: ▸two }", "resources.cpu", "expected cores", ""),
        ("resources: { cpu: '▸${{ x }}' }", "resources.cpu", "not supported yet", ""),
        ("resources: { memory: ▸4 }", "resources.memory", "64Ti, got the number 4", "without one"),
        ("resources: { memory: ▸4gb }", "resources.memory", "expected memory such as 512Mi", "units"),
        ("resources: { memory: ▸1e9 }", "resources.memory", "expected memory", ""),
        ("resources: { memory: ▸true }", "resources.memory", "expected memory", ""),
        ("resources: { memory: ▸999999999999999Ti }", "resources.memory", "expected memory", ""),
        ("resources: { arch: ▸x86_46 }", "resources.arch", "an architecture", "did you mean x86_64?"),
        ("resources: { arch: ▸vax }", "resources.arch", "expected an architecture", "there are x86_64"),
        ("locks: ▸5", "locks", "expected a list of names or of {name, mode}", ""),
        ("locks: ▸{ name: a }", "locks", "expected a list of names", "- { name"),
        ("locks: [a, ▸a]", "locks[1]", 'the lock "a" appears twice', "keep one"),
        ("locks: [ä, ▸{ name: a\u0308 }]", "locks[1]", "appears twice", ""),
        ("locks: [▸5]", "locks[0]", "expected text, got the number 5", "quotes"),
        ("locks: [▸\"a\\nb\"]", "locks[0]", "no control characters", ""),
        ("locks: [▸{ mode: shared }]", "locks[0]", "a lock needs a `name`", "mode: shared"),
        ("locks: [{ name: a, mode: ▸share }]", "locks[0].mode", "expected exclusive or shared", "shared?"),
        ("locks: [{ name: a, ▸type: b }]", "locks[0].type", "not a key of a lock", "write `mode`"),
        ("▸lock: a", "lock", "not a key of a job", "write `locks: [name]`"),
        ("▸concurrency: a", "concurrency", "not a key of a job", "write `locks`"),
        ("▸parallel: 4", "parallel", "not a key of a job", "strategy: {matrix:"),
        ("immediate: ▸1", "immediate", "expected true or false", ""),
        ("immediate: true, timeout: ▸61s", "timeout", "60 s at most, this one for 61 s", "60s"),
        ("immediate: true, timeout: { run: ▸1h }", "timeout.run", "60 s at most, this one for 3,600 s", ""),
    ],
)  # fmt: skip
def test_each_mistake(marked: str, path: str, message: str, hint: str) -> None:
    line, column, where, told, remedy = refused(marked)
    assert (line, column) == (2, len("jobs: { a: { run: x, ") + marked.index("▸") + 1)
    assert where == f"jobs.a.{path}"
    assert message in told
    assert hint in remedy


def test_locks_are_sorted_each_with_how_many_may_hold_it() -> None:
    assert job_of("locks: [z, { name: b, mode: shared }, { name: c, mode: exclusive }]").holds == (
        ("lock", "b", None), ("lock", "c", 1), ("lock", "z", 1),
    )  # fmt: skip
    assert job_of("locks: alone").holds == (("lock", "alone", 1),)
    assert job_of("locks: [a\u0308]").holds == (("lock", "ä", 1),)
    assert job_of("locks: []").holds == ()


def test_the_limit_of_locks() -> None:
    obj = {"jobs": {"a": {"run": "x", "locks": [f"l{at}" for at in range(33)]}}}
    with pytest.raises(RejectInput, match=r"jobs.a.locks: 33 locks; 32 is the limit"):
        check(load_json_object(obj))


@pytest.mark.parametrize(
    ("job", "head", "seconds"),
    [
        ("immediate: true", "", 60),
        ("immediate: true, timeout: 5s", "", 5),
        ("immediate: true, timeout: { queue: 5m }", "", 60),
        ("immediate: true", "defaults: { timeout: 15m }", 60),
        ("immediate: true", "defaults: { timeout: 5s }", 5),
        ("immediate: true, timeout: 30s", "defaults: { timeout: 15m }", 30),
        ("immediate: false", "", 3_600),
    ],
)
def test_an_immediate_job_is_short(job: str, head: str, seconds: int) -> None:
    found = job_of(job, head)
    assert (found.timeout_seconds, found.immediate) == (seconds, "true" in job)


@pytest.mark.parametrize("key", ["locks", "strategy", "immediate"])
def test_what_a_job_alone_may_have(key: str) -> None:
    _, _, path, message, hint = refused("shell: sh", f"defaults: {{ {key}: x }}")
    assert (path, hint) == (f"defaults.{key}", f"`{key}` is a key of a job")
    assert "is not a key of `defaults`" in message
