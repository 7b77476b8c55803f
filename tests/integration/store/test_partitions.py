"""Partitions made ahead and detached; functions of released versions stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid7
from penstock.store import migrate
from penstock.store.database import Database
from penstock.testing.graphs import World

PARENTS = {"jobs", "job_specs", "edges", "attempts", "job_transitions"}
RELEASED = Path(__file__).parent / "released"


def partitions(db: Database, parent: str) -> list[str]:
    rows = db.rows(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1",
        (parent,),
    )
    return [row[0] for row in rows]


def test_partitions_are_made_ahead_once(db: Database) -> None:
    assert migrate.ensure_partitions(db) == []
    for parent in PARENTS:
        ahead = db.one(
            "SELECT count(*) FROM unnest(%s::text[]) AS p(name)"
            " WHERE right(name, 8) > to_char(clock_v1() AT TIME ZONE 'UTC', 'YYYYMMDD')",
            (partitions(db, parent),),
        )
        assert ahead >= 4
        assert len(partitions(db, parent)) <= 13


def test_a_job_without_a_partition_is_an_outage_not_a_rejection(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.testing.graphs.uuid7", lambda _now: uuid7(4_000_000_000))
    with pytest.raises(RetryLater, match="no partition"):
        World(db, [{}])


def test_old_partitions_are_detached_together_unless_something_in_them_runs(db: Database) -> None:
    week = "20200106"
    bounds = [
        uuid7(stamp, lambda n: b"\0" * n)[:13] + "-0000-0000-000000000000"
        for stamp in (1_578_268_800, 1_578_873_600)
    ]
    for parent in sorted(PARENTS):
        db.rows(
            f"CREATE TABLE IF NOT EXISTS {parent}_{week} PARTITION OF {parent}"  # type: ignore[arg-type]
            f" FOR VALUES FROM ('{bounds[0]}') TO ('{bounds[1]}')"
        )
    assert set(migrate.detach_partitions(db, 13)) == {f"{parent}_{week}" for parent in PARENTS}
    assert migrate.detach_partitions(db, 13) == []
    assert f"jobs_{week}" not in partitions(db, "jobs")
    for parent in PARENTS:
        db.rows(f"DROP TABLE {parent}_{week}")  # type: ignore[arg-type]


def test_job_rows_are_small_and_updated_in_place(db: Database) -> None:
    world = World(db, [{"name": "a usual name of a job"}] * 200)
    for begin in range(0, 200, 50):
        world.run(*range(begin, begin + 50))
    size = db.one(
        "SELECT max(pg_column_size(j)) FROM jobs AS j WHERE pipeline_id = %s::uuid", (world.pipeline,)
    )
    assert size <= 300
    indexed = db.rows(
        "SELECT DISTINCT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY(i.indkey) WHERE i.indrelid = 'jobs'::regclass ORDER BY 1"
    )
    assert [row[0] for row in indexed] == ["id", "pipeline_id"]
    assert db.one("SELECT count(*) FROM pg_constraint WHERE confrelid = 'jobs'::regclass") == 0


@pytest.mark.parametrize("release", sorted(file.stem for file in RELEASED.glob("*.json")))
def test_functions_of_a_release_stay_as_they_were(db: Database, release: str) -> None:
    """Names, arguments and results; a changed function is a new version beside the old one."""
    there = {
        row[0]: [row[1], row[2]]
        for row in db.rows(
            "SELECT proname::text, pg_get_function_identity_arguments(oid), pg_get_function_result(oid)"
            " FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ '_v[0-9]+$'"
        )
    }
    promised = json.loads((RELEASED / f"{release}.json").read_text())
    assert {name: there.get(name) for name in promised} == promised
