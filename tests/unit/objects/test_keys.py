from __future__ import annotations

import hashlib

import pytest

from penstock.core.ids import uuid7
from penstock.objects import keys

JOB = uuid7(1_700_000_000.0)  # 14 November 2023, UTC


def test_a_chunk_lies_under_tenant_day_job_and_attempt() -> None:
    key = keys.chunk_key("acme", JOB, 2, 1, 565, b"frames")
    hash16 = hashlib.sha256(b"frames").hexdigest()[:16]
    assert key == f"logs/acme/20231114/{JOB}/2/0000000001-0000000565-{hash16}.ndjson.zst"
    assert key.startswith(keys.log_prefix("acme", JOB, 2))


def test_chunks_sort_by_their_first_line() -> None:
    starts = [1, 9, 10, 99, 100_000]
    made = [keys.chunk_key("acme", JOB, 1, first, first, b"x") for first in starts]
    assert sorted(made) == made


def test_other_content_has_another_key() -> None:
    assert keys.chunk_key("acme", JOB, 1, 1, 2, b"a") != keys.chunk_key("acme", JOB, 1, 1, 2, b"b")


def test_equal_contents_of_two_owners_lie_apart() -> None:
    chunks = {
        keys.chunk_key(tenant, job, attempt, 1, 2, b"same")
        for tenant in ("acme", "other")
        for job in (JOB, uuid7(1_700_000_000.0))
        for attempt in (1, 2)
    }
    assert len(chunks) == 8
    assert keys.definition_key("acme", keys.digest(b"")) != keys.definition_key("other", keys.digest(b""))


def test_a_definition_lies_under_its_digest() -> None:
    sha256 = keys.digest(b"{}")
    assert keys.definition_key("acme", sha256) == f"definitions/acme/{sha256}"
    assert len(sha256) == 64


def test_a_job_id_must_carry_its_time() -> None:
    with pytest.raises(ValueError, match="not a UUIDv7"):
        keys.log_prefix("acme", "6f1c2f0e-7d0c-4b7e-9a53-0d8a1b2c3d4e", 1)
