"""What is published has its topic, key and headers."""

from __future__ import annotations

import orjson

from penstock.events import topics
from penstock.events.envelope import header
from penstock.events.jobs import WAITING_TYPE, JobWaiting
from penstock.kafka import publish
from penstock.store.changes import Changes

PIPELINE, JOB = "0190c0de-0000-7000-8000-000000000001", "0190c0de-0000-7000-8000-000000000002"
AT = "2026-11-22T21:00:05.123456Z"


def test_why_a_job_waits_is_a_record_of_its_pipeline() -> None:
    told = JobWaiting("acme", PIPELINE, JOB, "no-runners", "pool gpu has no runner", {"pool": "gpu"}, AT)
    (record,) = publish.waiting([told], "dispatcher/0")
    assert (record.topic, record.key) == (topics.JOBS_WAITING.name, PIPELINE)
    assert orjson.loads(record.value or b"") == {
        "tenant": "acme", "pipeline_id": PIPELINE, "job_id": JOB, "reason": "no-runners",
        "text": "pool gpu has no runner", "detail": {"pool": "gpu"}, "at": AT,
    }  # fmt: skip
    assert header(record.headers, "ce_type") == WAITING_TYPE
    assert header(record.headers, "ce_id") == f"{JOB}/waiting/{AT}"


def test_no_record_of_what_waits_or_is_freed_is_larger_than_records_may_be() -> None:
    holds = [["lock", f"{at:02}" + "x" * 250, 1] for at in range(32)]
    ready = [
        {"job_id": f"job {at}", "pipeline_id": PIPELINE, "tenant": "acme", "lane": "high", "queued_at": AT,
         "holds": holds}
        for at in range(1_000)
    ]  # fmt: skip
    freed = [
        {"tenant": "acme", "kind": "lock", "name": f"{at:05}" + "x" * 250, "holder": JOB}
        for at in range(8_192)
    ]
    told = publish.records(Changes(ready=ready, freed=freed), "intake/0")
    values = [orjson.loads(record.value or b"") for record in told]
    assert max(len(record.value or b"") for record in told) <= publish.MOST_BYTES + 100
    assert [row for value in values for row in value["jobs"]] == ready
    assert [row[2] for value in values for row in value.get("freed", ())] == [one["name"] for one in freed]
    assert max(len(value["jobs"]) for value in values) <= publish.MOST_ROWS


def test_small_rows_share_records() -> None:
    row = {"pipeline_id": PIPELINE, "tenant": "acme", "lane": "high", "queued_at": AT}
    ready = [{**row, "job_id": f"job {at}"} for at in range(501)]
    told = publish.records(Changes(ready=ready), "intake/0")
    assert [len(orjson.loads(record.value or b"")["jobs"]) for record in told] == [500, 1]
    assert [header(record.headers, "ce_id") for record in told] == ["job 0", "job 500"]
