"""What `reject_v1` says was written, when an id is taken before it or meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.integration.store.test_races import in_its_own_thread, until_it_waits

from penstock.core.ids import uuid4, uuid7
from penstock.store import requests
from penstock.store.changes import Changes
from penstock.store.database import Database, raw_connection, to_json

NOW = time.time()


def refusal(pipeline_id: str, *, conflict: bool = False) -> dict[str, Any]:
    return {
        "id": pipeline_id, "tenant": "default", "key": uuid4(), "hash": "ab" * 32, "name": "", "git": None,
        "reason": "invalid", "errors": [], "trigger": None, "conflict": conflict,
    }  # fmt: skip


def reject(db: Database, *rows: dict[str, Any]) -> tuple[set[str], list[str]]:
    """The ids that were written, and the keys that were told of."""
    changes = Changes()
    written = requests.reject(db, changes, rows, actor="test")
    return written, [status["request_id"] for status in changes.pipelines]


def kept(db: Database, *rows: dict[str, Any]) -> list[str]:
    """The keys that mean something now."""
    return [key for _, key in requests.known(db, [(row["tenant"], row["key"]) for row in rows])]


@pytest.mark.parametrize("conflict", [False, True])
def test_an_id_in_use_is_not_written_and_keeps_no_key(db: Database, conflict: bool) -> None:
    first, other = refusal(uuid7(NOW)), refusal(uuid7(NOW))
    assert reject(db, first) == ({first["id"]}, [first["key"]])
    second = refusal(first["id"], conflict=conflict)
    assert reject(db, second, other) == ({other["id"]}, [other["key"]])
    assert kept(db, second) == []
    assert requests.conflict(db, "default", second["key"], second["hash"]) is None


def test_of_two_refusals_under_one_id_one_is_written(db: Database) -> None:
    rows = [refusal(uuid7(NOW))]
    rows.append(refusal(rows[0]["id"]))
    written, told = reject(db, *rows)
    assert written == {rows[0]["id"]}
    assert kept(db, *rows) == told
    assert len(told) == 1


@pytest.mark.parametrize("taken", [True, False])
def test_an_id_taken_at_the_same_time_keeps_no_key(postgres_dsn: str, taken: bool) -> None:
    db = Database(postgres_dsn, "test")
    first = refusal(uuid7(NOW))
    second = refusal(first["id"])
    with raw_connection(postgres_dsn) as taking:
        taking.execute("BEGIN")
        taking.execute("SELECT reject_v1(%s::json, 'test')", (to_json([first]).decode(),))
        with in_its_own_thread(postgres_dsn, lambda other: reject(other, second)) as answers:
            until_it_waits(db)
            taking.execute("COMMIT" if taken else "ROLLBACK")
    assert answers == [(set(), []) if taken else ({first["id"]}, [second["key"]])]
    assert kept(db, second) == ([] if taken else [second["key"]])
    db.close()
