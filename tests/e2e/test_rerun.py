"""A failed pipeline is run again from its failed jobs only: files on disk say which jobs ran."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.core.ids import uuid4


def post(client: Any, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        client.stack.gateway.url + path,
        data=orjson.dumps(body),
        method="POST",
        headers={
            "Authorization": f"Bearer {client.stack.token}", "Content-Type": "application/json", **headers
        },
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())


def get(client: Any, path: str) -> Any:
    request = urllib.request.Request(
        client.stack.gateway.url + path, headers={"Authorization": f"Bearer {client.stack.token}"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return orjson.loads(answer.read())


def pipeline_of(client: Any, key: str) -> str:
    return str(client.db.one("SELECT id::text FROM pipelines WHERE request_id = %s", (key,)))


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """Where jobs leave that they ran, and look whether they may succeed."""
    tmp_path.chmod(0o755)
    return tmp_path


def definition(yard: Path, **needs: list[str]) -> dict[str, Any]:
    """Jobs that note their name in `ran`; one called flaky fails until there is a file `mended`."""
    return {
        "name": "again",
        "jobs": {
            name: {
                "needs": list(parents),
                "run": f"echo {name} says hello to $WHO; echo {name} >> {yard}/ran"
                + (f"; test -e {yard}/mended" if name == "flaky" else ""),
            }
            for name, parents in needs.items()
        },
    }


def ran(yard: Path) -> Counter[str]:
    """How often each job ran since this was asked last."""
    file = yard / "ran"
    found = Counter(file.read_text().split())
    file.unlink()
    return found


NEEDS = {
    "build": [],
    "lint": [],
    "flaky": ["build"],
    "report": ["flaky", "lint"],
    "alone": ["lint"],
}


def test_only_the_failed_jobs_and_what_follows_run_again(client: Any, yard: Path) -> None:
    first, second, third = uuid4(), uuid4(), uuid4()
    client.submit(definition(yard, **NEEDS), first, env={"WHO": "you"})
    assert client.wait(first) == {first: "FAILED"}
    assert ran(yard) == Counter(build=1, lint=1, flaky=1, alone=1)
    source = pipeline_of(client, first)
    before = client.jobs(first)

    status, told = post(
        client, f"/v1/pipelines/{source}/rerun", {"failed": True}, **{"Idempotency-Key": second}
    )
    assert (status, told["rerun_of"]) == (201, source)
    assert client.wait(second) == {second: "FAILED"}, "nothing was mended"
    assert ran(yard) == Counter(flaky=1)
    assert client.jobs(second) == {
        "build": ("SUCCESS", "reused"),
        "lint": ("SUCCESS", "reused"),
        "alone": ("SUCCESS", "reused"),
        "flaky": ("FAILED", "exit-code"),
        "report": ("SKIPPED", "dependency-failed"),
    }

    (yard / "mended").touch()
    headers = {"Idempotency-Key": third}
    status, told = post(client, f"/v1/pipelines/{told['pipeline_id']}/rerun", {"failed": True}, **headers)
    assert status == 201
    assert client.wait(third) == {third: "SUCCESS"}
    assert ran(yard) == Counter(flaky=1, report=1)
    status, repeat = post(client, f"/v1/pipelines/{told['rerun_of']}/rerun", {"failed": True}, **headers)
    assert (status, repeat["pipeline_id"], repeat["state"]) == (200, told["pipeline_id"], "SUCCESS")
    assert client.jobs(first) == before, "what has ended is as it was"

    assert client.log(third, "build") == client.log(first, "build") == b"build says hello to you\n"
    assert client.log(third, "report") == b"report says hello to you\n"
    job = get(client, f"/v1/jobs/{client.job_id(third, 'build')}")
    assert job["source_job_id"] == client.job_id(first, "build")
    (attempt,) = job["attempts"]
    assert attempt["worker_name"]
    assert (attempt["attempt"], attempt["exit_code"], attempt["reason"]) == (1, 0, None)


def test_from_a_job_on_and_all_of_it(client: Any, yard: Path) -> None:
    (yard / "mended").touch()
    first, second, third = uuid4(), uuid4(), uuid4()
    client.submit(definition(yard, **NEEDS), first, env={"WHO": "you"})
    assert client.wait(first) == {first: "SUCCESS"}
    assert ran(yard) == Counter(NEEDS.keys())
    path = f"/v1/pipelines/{pipeline_of(client, first)}/rerun"
    assert post(client, path, {"failed": True})[0] == 409
    post(client, path, {"from": client.job_id(first, "flaky")}, **{"Idempotency-Key": second})
    assert client.wait(second) == {second: "SUCCESS"}
    assert ran(yard) == Counter(flaky=1, report=1)
    post(client, path, {}, **{"Idempotency-Key": third})
    assert client.wait(third) == {third: "SUCCESS"}
    assert ran(yard) == Counter(NEEDS.keys())


def test_the_status_topics_tell_of_reused_jobs(client: Any, yard: Path) -> None:
    first, second = uuid4(), uuid4()
    client.submit(definition(yard, build=[], flaky=["build"]), first)
    client.wait(first)
    source = pipeline_of(client, first)
    told = post(client, f"/v1/pipelines/{source}/rerun", {"failed": True}, **{"Idempotency-Key": second})[1]
    client.wait(second)
    client.published()
    mine = [
        record
        for record in client.topic("penstock.jobs.status")
        if record["pipeline_id"] == told["pipeline_id"]
    ]
    versions = {(record["name"], record["version"]): record for record in mine}
    build = versions["build", 1]
    assert (build["state"], build["previous"], build["terminal"], build["reason"]) == (
        "SUCCESS", None, True, "reused"
    )  # fmt: skip
    assert [version for name, version in sorted(versions) if name == "build"] == [1]
    pipelines = [
        record
        for record in client.topic("penstock.pipelines.status")
        if record["pipeline_id"] == told["pipeline_id"]
    ]
    assert {record["rerun_of"] for record in pipelines} == {source}
