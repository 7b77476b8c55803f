"""B5: 500 processes `sh -c 'echo ok'`, each with its exit code kept and its output captured to the log topic.

`true` would do, were there not to be an output to capture: a log of no lines is none.
"""

from __future__ import annotations

import time
from typing import Any

from bench.door import Door, ShortCutError, percentile
from bench.meter import Meter
from bench.spawning import asyncio_pidfd_exec_with_stdout_pipe
from bench.stack import UnderTest
from bench.stages import stages_ms

JOBS = 500
PIPELINES = 5
WARM_UP = 50
ROUNDS = 3
LOOK_SECONDS = 0.1
LOGS_SECONDS = 30.0
"""A log is stored, and then closed, once its lines have waited for ten seconds."""


def b5(subject: UnderTest, door: Door) -> dict[str, Any]:
    """jobs_per_s as in B1, and `ratio` of it to what asyncio alone starts a second on this machine.

    That is the median of three rounds after the jobs. The runner starts `sh` by itself for a job's script, so
    `echo ok` is all that the jobs say. Each log is closed with its line, so that came by the log topic.
    """
    door.wait(door.submit([_definition(WARM_UP)]))
    with Meter(subject) as meter:
        ids = door.submit([_definition(JOBS // PIPELINES)] * PIPELINES)
        door.wait(ids)
    seconds = door.finished_at(ids) - door.sent[ids[0]]
    door.verify(ids, JOBS)
    _verify_codes_and_logs(subject, ids)
    limit = percentile([asyncio_pidfd_exec_with_stdout_pipe(JOBS) for _ in range(ROUNDS)], 0.5)
    return {
        "jobs_per_s": round(JOBS / seconds),
        "ratio": round(JOBS / seconds / limit, 3),
        "asyncio_pidfd_exec_with_stdout_pipe": round(limit),
        "seconds": round(seconds, 3),
        "stages_ms": stages_ms(door, ids),
        **meter.figures(JOBS),
    }


def _definition(jobs: int) -> dict[str, Any]:
    return {"name": "processes", "jobs": {f"job-{n}": {"run": "echo ok"} for n in range(jobs)}}


def _verify_codes_and_logs(subject: UnderTest, ids: list[str]) -> None:
    """Raises ShortCutError when a job has no exit code, or the log of one is not closed in time."""
    query = (
        "SELECT count(*) FILTER (WHERE j.exit_code = 0), count(*) FILTER (WHERE h.closed AND h.lines = 1)"
        " FROM jobs AS j LEFT JOIN log_heads AS h ON h.job_id = j.id AND h.attempt = j.attempt"
        " WHERE j.pipeline_id = ANY(%s::uuid[])"
    )
    deadline = time.monotonic() + LOGS_SECONDS
    while True:
        ((coded, closed),) = subject.db.rows(query, (ids,))
        if coded == closed == JOBS:
            return
        if coded != JOBS or time.monotonic() > deadline:
            raise ShortCutError(f"of {JOBS} jobs {coded} have their exit code, {closed} a closed log")
        time.sleep(LOOK_SECONDS)
