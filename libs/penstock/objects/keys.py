"""Where things lie in the bucket. Keys are made of ids and digests only, never of names that users choose."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from penstock.core.ids import id_time

LOGS_TYPE: Final = "application/zstd"
DEFINITIONS_TYPE: Final = "application/json"


def digest(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def chunk_key(tenant: str, job_id: str, attempt: int, first_seq: int, last_seq: int, data: bytes) -> str:
    """The key of a chunk of log lines `first_seq` to `last_seq`: equal content, equal key (protocol §9)."""
    prefix = log_prefix(tenant, job_id, attempt)
    return f"{prefix}{first_seq:010d}-{last_seq:010d}-{digest(data)[:16]}.ndjson.zst"


def log_prefix(tenant: str, job_id: str, attempt: int) -> str:
    """What the keys of all chunks of an attempt begin with; they sort by their first line."""
    day = datetime.fromtimestamp(id_time(job_id), UTC).strftime("%Y%m%d")
    return f"logs/{tenant}/{day}/{job_id}/{attempt}/"


def definition_key(tenant: str, sha256: str) -> str:
    """The key of a definition that travels by reference."""
    return f"definitions/{tenant}/{sha256}"
