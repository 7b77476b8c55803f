"""Outages of a server while jobs run, on the real stack: nobody is hurt, and all goes on afterwards.

`python -m bench postgres-down kafka-down …` does the same with 500 jobs and for 60 s, and measures.
Servers that hang take part with PENSTOCK_OUTAGES=all, and in runs under faults.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from bench.field import Field, field
from bench.outage import How, Server, outage

JOBS = 20
SECONDS = 8.0
"""More than two TTLs of the clocks of tests."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Field]:
    """One stack for all outages, one after another; its slots are the jobs' and a talker's."""
    with field(environ={"PENSTOCK_SLOTS": str(JOBS + 1)}, quick=True) as made:
        yield made


@pytest.mark.timeout(500)
@pytest.mark.parametrize("how", ["down", "hang"] if os.environ.get("PENSTOCK_OUTAGES") == "all" else ["down"])
@pytest.mark.parametrize("server", ["postgres", "kafka"])
def test_jobs_that_run_do_not_notice_an_outage(ground: Field, server: Server, how: How) -> None:
    found = outage(ground, server, how, jobs=JOBS, seconds=SECONDS)
    assert found["reclaimed"] == 0, "no attempt is taken from a runner that lives"
    assert found["completed"] == JOBS, "what ended meanwhile is accepted afterwards, at its first attempt"
    assert found["started_twice"] == 0
    assert {status[0] for status in found["posts"]} == {"2"}, found["posts"]
    assert found["tail_in_order"], "its log has every line once"
    if server == "postgres":
        assert found["tail_longest_gap_s"] < SECONDS / 2, "live logs need no database"
