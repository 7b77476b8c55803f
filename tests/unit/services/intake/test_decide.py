"""What intake gives the store for a request."""

from __future__ import annotations

from typing import Any

import orjson

from penstock_services.intake.decide import Asked, interpret, job_rows, pipeline_row, read

FILE = """
concurrency: { group: 'shop-${{ git.branch }}', cancel-in-progress: true }
jobs:
  test:
    strategy: { max-parallel: 2, matrix: { os: [linux, mac] } }
    resources: { cpu: 2, memory: 1Gi, arch: amd64 }
    locks: [db, { name: cache, mode: shared }]
    run: make ${{ matrix.os }}
  note: { needs: test, immediate: true, run: x }
"""


def asked(definition: str, **fields: Any) -> Asked:
    request = {"tenant": "alice", "request_id": "r", "definition_yaml": definition, **fields}
    found = read(orjson.dumps(request), "", "")
    interpret(found, None, 0)
    assert not found.problems
    return found


def test_what_dispatch_must_know_is_in_the_rows() -> None:
    found = asked(FILE, git={"branch": "main"})
    jobs, edges = job_rows(found, "p", ["1", "2", "3"])
    group = ["group", "shop-main", 1]
    locks = [["lock", "cache", None], ["lock", "db", 1]]
    keys = ("name", "unmet", "resources", "holds", "immediate", "matrix", "fail_fast")
    cell = {
        "unmet": 0,
        "resources": {"cpu": 2.0, "memory": 1024**3, "arch": "x86_64"},
        "holds": [*locks, ["matrix", "test", 2], group],
        "matrix": "test",
        "fail_fast": True,
    }
    note = {"name": "note", "unmet": 2, "holds": [group], "immediate": True}
    written = orjson.loads(orjson.dumps([{key: job[key] for key in keys if key in job} for job in jobs]))
    assert written == [{**cell, "name": "test (linux)"}, {**cell, "name": "test (mac)"}, note]
    assert [(edge["parent_id"], edge["child_id"]) for edge in edges] == [("1", "3"), ("2", "3")]
    assert pipeline_row(found, "p")["concurrency"] == {
        "group": "shop-main", "cancel_in_progress": True, "queue": "all",
    }  # fmt: skip


def test_plain_jobs_have_none_of_it() -> None:
    found = asked("jobs: { a: { run: x } }")
    ((job,), _) = job_rows(found, "p", ["1"])
    assert not {"resources", "holds", "immediate", "matrix", "fail_fast"} & job.keys()
    assert pipeline_row(found, "p")["concurrency"] is None


def test_a_group_without_a_name_is_a_problem_of_the_request() -> None:
    request = {"tenant": "alice", "request_id": "r", "definition_yaml": FILE.replace("shop-", "")}
    found = read(orjson.dumps(request), "", "")
    interpret(found, None, 0)
    assert [problem.path for problem in found.problems] == ["concurrency.group"]
