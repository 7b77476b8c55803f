"""The clusters met, and the history that a new one is given again."""

from __future__ import annotations

from typing import Any

from penstock.core.ids import uuid4
from penstock.store import clusters
from penstock.store.clusters import Page
from penstock.store.database import Database
from penstock.testing.graphs import World

DAY = 86_400.0


def told(worlds: list[World]) -> list[dict[str, Any]]:
    """Every status record that these pipelines had when they ran."""
    return in_order([one for w in worlds for one in (*w.changes.pipelines, *w.changes.jobs)])


def of(pages: list[Page], worlds: list[World]) -> list[dict[str, Any]]:
    """What pages say of these pipelines."""
    mine = {world.pipeline for world in worlds}
    found = [one for page in pages for one in (*page.pipelines, *page.jobs) if one["pipeline_id"] in mine]
    return in_order(found)


def in_order(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda one: (one["pipeline_id"], one.get("job_id") or "", one["version"]))


def three_worlds(db: Database) -> list[World]:
    worlds = [World(db, [{}] * 4, [(0, 1), (0, 2), (1, 3), (2, 3)]), World(db, [{}] * 3), World(db, [{}])]
    for numbers in ((0,), (1, 2), (3,)):
        worlds[0].run(*numbers)
    worlds[1].run(1)
    return worlds


def test_the_history_is_what_was_published(db: Database) -> None:
    worlds = three_worlds(db)
    for limit in (1, 2, 3, 100):
        assert of(list(clusters.history(db, DAY, limit)), worlds) == told(worlds)


def test_what_is_older_is_left_out(db: Database) -> None:
    worlds = three_worlds(db)
    old, ended = worlds[1].pipeline, worlds[0].pipeline
    for table in ("job_transitions", "pipeline_transitions"):
        aged = f"UPDATE {table} SET at = at - interval '2 days' WHERE pipeline_id = %s::uuid"
        db.rows(aged + " AND version = 1", (old,))  # type: ignore[arg-type]
    db.rows("UPDATE pipelines SET finished_at = finished_at - interval '2 days' WHERE id = %s", (ended,))
    wanted = [one for one in told(worlds[1:]) if one["pipeline_id"] != old or one["version"] > 1]
    assert of(list(clusters.history(db, DAY, 2)), worlds) == wanted


def test_a_new_cluster_is_given_the_history_once(db: Database) -> None:
    worlds = three_worlds(db)
    first, second = uuid4(), uuid4()
    clusters.meet(db, first, keep_seconds=DAY)
    db.rows("UPDATE kafka_clusters SET done_at = clock_timestamp()")
    assert clusters.meet(db, second, keep_seconds=DAY)
    assert clusters.meet(db, second, keep_seconds=DAY), "as long as it has not all of it"
    assert clusters.take(db, second, 2) is None, "records of older clients may still be on their way"

    pages: list[Page] = []
    while (page := clusters.take(db, second, 2, settle_seconds=0.0)) is not None:
        assert clusters.take(db, second, 2, settle_seconds=0.0) is None, "one reaper at a time"
        clusters.gave(db, second, page)
        pages.append(page)
    assert of(pages, worlds) == told(worlds)
    assert not clusters.meet(db, second, keep_seconds=DAY)
    assert clusters.take(db, first, 2, settle_seconds=0.0) is None


def test_a_page_that_was_not_acknowledged_comes_again(db: Database) -> None:
    three_worlds(db)
    clusters.meet(db, uuid4(), keep_seconds=DAY)
    lost = uuid4()
    clusters.meet(db, lost, keep_seconds=DAY)
    page = clusters.take(db, lost, 2, settle_seconds=0.0)
    assert page is not None
    db.rows("UPDATE kafka_clusters SET busy_until = clock_timestamp() WHERE cluster_id = %s", (lost,))
    assert clusters.take(db, lost, 2, settle_seconds=0.0) == page


def test_the_first_cluster_ever_gets_nothing(db: Database) -> None:
    db.rows("DELETE FROM kafka_clusters")
    first = uuid4()
    assert not clusters.meet(db, first, keep_seconds=DAY)
    assert clusters.take(db, first, 2, settle_seconds=0.0) is None
