"""How many jobs one statement claims."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.services.dispatcher.field import job

from penstock.events.jobs import Hold
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock_services.dispatcher.claims import Claims
from penstock_services.dispatcher.decide import Choice


class _Runner:
    session_id = "s"
    n = 1


def test_a_statement_asks_for_so_many_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def claim(_db: Database, _changes: Changes, claims: list[dict[str, Any]], **_: Any) -> jobs.Claimed:
        asked.append([one["job_id"] for one in claims])
        return jobs.Claimed([], [{"job_id": one["job_id"]} for one in claims])

    monkeypatch.setattr(jobs, "claim", claim)
    holds = tuple(Hold("lock", f"{at}", 1) for at in range(32))
    many = [job(f"{at:03}", holds=holds if at < 64 else ()) for at in range(300)]
    claims = Claims(
        None, lease_seconds=1, exclusive_seconds=1, actor="test", new_token=lambda: "t"  # type: ignore[arg-type]
    )  # fmt: skip
    choices = [Choice(one, None, _Runner) for one in many]  # type: ignore[arg-type]
    waits = claims.claim(Changes(), choices[::-1], {}).waits
    names = [one.job_id for one in many]
    assert asked == [names[:31], names[31:62], names[62:]]
    assert [wait["job_id"] for wait in waits] == names
    claims.claim(Changes(), [], {})
    assert len(asked) == 3
