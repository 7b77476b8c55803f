"""Graphs of real sizes through the whole stack, judged by the status topic alone."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from penstock.core.ids import uuid4

SCHEMAS = Path(__file__).parents[2] / "schemas"
GENERATED = 150
RECORDS = {
    "penstock.pipelines.requested": "pipeline.requested.v1",
    "penstock.pipelines.status": "pipeline.status.v1",
    "penstock.jobs.status": "job.status.v1",
    "penstock.jobs.ready.normal": "job.ready.v1",
    "penstock.jobs.reports": "job.report.v1",
    "penstock.workers.heartbeats": "worker.heartbeat.v1",
    "penstock.workers.offers": "worker.offer.v1",
    "penstock.workers.grants": "worker.grants.v1",
    "penstock.workers.control": "worker.control.v1",
    "penstock.cancel.requested": "cancel.requested.v1",
}


def chain(length: int) -> dict[str, list[str]]:
    return {f"link {n}": [f"link {n - 1}"] if n else [] for n in range(length)}


def fan(width: int) -> dict[str, list[str]]:
    middle = {f"mid {n}": ["first"] for n in range(width)}
    return {"first": [], **middle, "last": list(middle)}


def layered(rng: random.Random, size: int, depth: int) -> dict[str, list[str]]:
    """Jobs in layers; each needs up to four of the layer before."""
    layers: list[list[str]] = [[] for _ in range(depth)]
    for n in range(size):
        layers[n % depth if n >= depth else n].append(f"j{n}")
    jobs: dict[str, list[str]] = {}
    for above, layer in zip([[], *layers], layers, strict=False):
        for name in layer:
            jobs[name] = rng.sample(above, min(len(above), rng.randint(1, 4))) if above else []
    return jobs


def graphs(count: int) -> list[dict[str, list[str]]]:
    """Sizes as in real CI: most are small, a few are huge, wide or deep."""
    rng = random.Random(20261122)
    made = [chain(40), fan(600), layered(rng, 2_000, 25), {"lone": []}]
    while len(made) < count:
        size = min(400, int(rng.lognormvariate(2.3, 1.0)) + 1)
        made.append(layered(rng, size, min(size, rng.randint(1, 12))))
    return made


def definition(jobs: dict[str, list[str]]) -> dict[str, Any]:
    return {"jobs": {name: {"executor": "noop", "needs": needs} for name, needs in jobs.items()}}


def in_order(
    told: list[dict[str, Any]], wanted: dict[str, dict[str, list[str]]], names: dict[str, str]
) -> None:
    """Each job was assigned after all its needs succeeded, as the records say. names: pipeline -> request."""
    at: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for record in told:
        request = names.get(record["pipeline_id"])
        if request is not None:
            at[request][record["name"], record["state"]] = record["at"]
    for request, jobs in wanted.items():
        seen = at[request]
        for name, needs in jobs.items():
            assert (name, "SUCCESS") in seen, f"{name} of {request} did not succeed"
            for need in needs:
                assert seen[need, "SUCCESS"] <= seen[name, "ASSIGNED"]


def run(client: Any, wanted: dict[str, dict[str, list[str]]]) -> None:
    for request, jobs in wanted.items():
        client.submit(definition(jobs), request)
    ends = client.wait(*wanted, seconds=240)
    assert set(ends.values()) == {"SUCCESS"}
    client.published()
    told = client.topic("penstock.jobs.status")
    pipelines = client.topic("penstock.pipelines.status")
    names = {record["pipeline_id"]: record["request_id"] for record in pipelines}
    ended = {record["request_id"] for record in pipelines if record["state"] == "SUCCESS"}
    assert set(wanted) <= ended
    in_order(told, wanted, names)


def test_generated_graphs_run_in_dependency_order(client: Any) -> None:
    run(client, {f"dag-{n}-{uuid4()}": jobs for n, jobs in enumerate(graphs(GENERATED))})


def test_events_alone_carry_the_whole_stack(start_stack: Any) -> None:
    """With every sweep at one hour a single lost event would leave its pipeline behind."""
    with start_stack(PENSTOCK_SWEEP_SECONDS="3600") as alone:
        run(alone, {f"alone-{n}-{uuid4()}": jobs for n, jobs in enumerate(graphs(30))})


def test_every_record_of_every_topic_is_as_its_schema_says(client: Any) -> None:
    key, empty = uuid4(), uuid4()
    client.submit({"jobs": {"a": {"run": "echo hi"}, "b": {"run": "exit 1", "needs": ["a"]}}}, key)
    client.submit({"jobs": {}}, empty)
    client.wait(key, empty)
    client.published()
    checked = 0
    for topic, name in RECORDS.items():
        schema = SCHEMAS / "events" / f"{name}.schema.json"
        validator = Draft202012Validator(json.loads(schema.read_text()))
        for value in client.raw(topic, newest=100):
            try:
                record = orjson.loads(value)
            except orjson.JSONDecodeError:
                continue  # planted by another test; it went to the dead letters
            problems = [error.message for error in validator.iter_errors(record)]
            if topic != "penstock.pipelines.requested":
                assert not problems, f"{topic}: {problems} in {record}"
            checked += 1
    assert checked > 20


@pytest.mark.timeout(900)
@pytest.mark.skipif("PENSTOCK_CORPORA" not in os.environ, reason="PENSTOCK_CORPORA names no folder")
def test_real_graphs_run_in_dependency_order_and_cyclic_ones_are_rejected(client: Any) -> None:
    folder = Path(os.environ["PENSTOCK_CORPORA"])
    good: dict[str, dict[str, list[str]]] = {}
    cyclic: dict[str, dict[str, list[str]]] = {}
    with gzip.open(folder / "dag" / "dags.ndjson.gz", "rt") as lines:
        for n, line in enumerate(lines):
            dag = json.loads(line)
            jobs = {task["id"]: task["needs"] for task in dag["tasks"]}
            request = f"real-{n}-{uuid4()}"
            if dag["metrics"]["cyclic"]:
                client.submit(definition(jobs), request)
                cyclic[request] = jobs
            elif len(jobs) <= 10_000:
                good[request] = jobs
    run(client, good)
    assert set(client.wait(*cyclic).values()) == {"REJECTED"}
    client.published()
    told = {
        record["request_id"]: [error["message"] for error in record["errors"] or ()]
        for record in client.topic("penstock.pipelines.status")
        if record["state"] == "REJECTED"
    }
    for request, jobs in cyclic.items():
        circles = [message.partition(": ")[2].split(" → ") for message in told[request]]
        assert circles, request
        for circle in circles:
            assert circle[0] == circle[-1]
            # Long names are cut, and the middle of long circles is left out.
            known = [(name, need) for name, need in pairwise(circle) if name in jobs and need in jobs]
            assert all(need in jobs[name] for name, need in known), circle
