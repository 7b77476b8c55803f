"""Mutants in SQL: Postgres takes them, and afterwards everything is as it was."""

from __future__ import annotations

import pytest

from penstock.store import setup
from penstock.store.database import Database
from penstock.testing.chaos.mutants import MUTANTS

SOURCES = "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.texts])
def test_planted_and_taken_out_again(db: Database, name: str) -> None:
    mutant = MUTANTS[name]
    before = dict(db.rows(SOURCES))
    mutant.plant(db)
    planted = dict(db.rows(SOURCES))
    assert {one for one in before if before[one] != planted[one]} == mutant.functions().keys()
    mutant.restore(db)
    assert dict(db.rows(SOURCES)) == before


def test_empty_keeps_what_it_is_told_to(db: Database) -> None:
    db.rows("INSERT INTO past_workers VALUES (gen_random_uuid(), 'runner-0', clock_v1())")
    setup.empty(db, keep=("past_workers",))
    assert db.one("SELECT count(*) FROM past_workers") == 1
    setup.empty(db)
    assert db.one("SELECT count(*) FROM past_workers") == 0
