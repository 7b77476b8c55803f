"""What is published has its topic, key and headers."""

from __future__ import annotations

import orjson

from penstock.events import topics
from penstock.events.envelope import header
from penstock.events.jobs import WAITING_TYPE, JobWaiting
from penstock.kafka import publish

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
