"""The index of stored logs: which lines of an attempt are stored, and in which objects (protocol §9).

The index decides what exists. It changes by compare-and-swap on the number of lines of an attempt's head, so
two writers never store the same line twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.store.database import Database, to_json

LogKey = tuple[str, int]
"""Job id and attempt."""
MAX_ITEMS: Final = 100
"""Most attempts that one `index` call takes."""
CHUNKS_PAGE: Final = 64


class Head(msgspec.Struct, frozen=True):
    """How far the log of an attempt is stored: `lines` of the lines 1 to `last_seq`; `gaps` are the others.

    `end_seq` is the number of the last line there is, once that is known. `closed`: all lines are there, or
    the rest was given up on.
    """

    lines: int = 0
    last_seq: int = 0
    end_seq: int | None = None
    closed: bool = False
    gaps: list[tuple[int, int]] = []

    @property
    def complete(self) -> bool:
        """Nothing can be added any more."""
        return self.lines == self.end_seq

    @property
    def unbroken(self) -> int:
        """Up to this line all are stored."""
        return self.gaps[0][0] - 1 if self.gaps else self.last_seq


class Chunk(msgspec.Struct, frozen=True):
    """One object of lines `first_seq` to `last_seq`, as zstd frames end to end.

    `frames` has the byte offset and the first line of each of them; sizes are in bytes, `raw_bytes` before
    compression; times are Unix milliseconds of the first and the last line.
    """

    first_seq: int
    last_seq: int
    object_key: str
    bytes: int
    raw_bytes: int
    first_ts: int
    last_ts: int
    frames: list[tuple[int, int]]
    cluster_id: str
    next_offset: int


class IndexItem(msgspec.Struct, frozen=True):
    """What to write of one attempt: chunks that were stored, its end, or that the rest is given up on.

    `lines_before` is the expected number of lines in the index; `lines` and `last_seq` are those after it.
    """

    tenant: str
    job_id: str
    attempt: int
    partition: int
    lines_before: int
    lines: int
    last_seq: int
    end_seq: int | None = None
    closes: bool = False
    chunks: list[Chunk] = []

    @property
    def key(self) -> LogKey:
        """The attempt."""
        return self.job_id, self.attempt


class LogState(msgspec.Struct, frozen=True):
    """What a reader must know of the log of an attempt.

    `lines` to `closed` are those of `Head`, None while nothing is stored. `state` is the state that the job
    entered when the attempt ended `ended_seconds` ago, `reported_seq` the number of the last line by the
    report of its end (None: no report came); all None while it has not ended.
    """

    job_id: str
    attempt: int
    lines: int | None = None
    last_seq: int | None = None
    end_seq: int | None = None
    closed: bool | None = None
    state: str | None = None
    reported_seq: int | None = None
    ended_seconds: float | None = None


class OpenLog(msgspec.Struct, frozen=True):
    """A log whose attempt ended long ago and whose end never came; `end_seq` by the report, if it says."""

    tenant: str
    job_id: str
    attempt: int
    partition: int
    lines: int
    last_seq: int
    end_seq: int | None


def index(db: Database, items: Sequence[IndexItem]) -> set[LogKey]:
    """Write these to the index, at most `MAX_ITEMS`, each attempt once; returns those that won.

    For the others the index holds another number of lines than expected: ask `heads`. Raises PoisonRow.
    """
    assert len(items) <= MAX_ITEMS
    rows = db.call("index_chunks_v1", msgspec.json.encode(items))
    return {(job_id, attempt) for job_id, attempt in rows}


def heads(db: Database, keys: Sequence[LogKey]) -> dict[LogKey, Head]:
    """How far these logs are stored; an empty head where nothing is."""
    rows = db.call("log_heads_v1", _keys(keys))
    found = {(row["job_id"], row["attempt"]): msgspec.convert(row, Head) for row in rows}
    return {key: found.get(key, Head()) for key in keys}


def open_logs(
    db: Database, partitions: Sequence[int], *, ended_seconds: float, limit: int = MAX_ITEMS
) -> list[OpenLog]:
    """Logs of these partitions that are still open so long after the end of their attempt."""
    answer = db.call("open_logs_v1", list(partitions), ended_seconds, limit)
    return msgspec.convert(answer, list[OpenLog])


def close_unknown(db: Database, limit: int) -> int:
    """Close logs of jobs that are not there; returns how many."""
    closed: int = db.call("close_unknown_logs_v1", limit)
    return closed


def states(db: Database, keys: Sequence[LogKey]) -> dict[LogKey, LogState]:
    """What readers must know of these logs; there is an answer for every key."""
    rows = msgspec.convert(db.call("log_states_v1", _keys(keys)), list[LogState])
    return {(row.job_id, row.attempt): row for row in rows}


def chunks(db: Database, job_id: str, attempt: int, from_seq: int, limit: int = CHUNKS_PAGE) -> list[Chunk]:
    """The chunks that hold line `from_seq` and those after it, in order, at most `limit`."""
    rows = db.rows(
        "SELECT to_json(c) FROM log_chunks AS c WHERE c.job_id = %s::uuid AND c.attempt = %s"
        " AND c.first_seq >= coalesce((SELECT max(b.first_seq) FROM log_chunks AS b"
        " WHERE b.job_id = %s::uuid AND b.attempt = %s AND b.first_seq <= %s), 0)"
        " AND c.last_seq >= %s ORDER BY c.first_seq LIMIT %s",
        (job_id, attempt, job_id, attempt, from_seq, from_seq, limit),
    )
    return msgspec.convert([row[0] for row in rows], list[Chunk])


def _keys(keys: Sequence[LogKey]) -> bytes:
    return to_json([{"job_id": job_id, "attempt": attempt} for job_id, attempt in keys])
