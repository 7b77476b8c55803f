"""Calls in threads: a connection each, silence is an error, and not everybody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator

import pytest

from penstock.core.errors import RetryLater
from penstock.store import pool as module
from penstock.store.database import Database
from penstock.store.pool import Pool


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool("postgresql://nobody@127.0.0.1:1/none", "test", size=2, call_seconds=0.05)
    yield made
    made.close()


async def test_every_thread_has_a_connection_of_its_own(pool: Pool) -> None:
    both = threading.Barrier(2, timeout=30)

    def call(db: Database, name: str, *, more: str) -> tuple[str, Database]:
        both.wait()
        return name + more, db

    wide = Pool("", "test", size=2)
    first, second = await asyncio.gather(wide.run(call, "a", more="b"), wide.run(call, "c", more="d"))
    wide.close()
    assert (first[0], second[0]) == ("ab", "cd")
    assert first[1] is not second[1]


async def test_errors_come_through(pool: Pool) -> None:
    with pytest.raises(RetryLater, match="postgres"):
        await Pool("postgresql://nobody@127.0.0.1:1/none", "test", size=1).run(Database.one, "SELECT 1")


async def test_silence(pool: Pool) -> None:
    silent = threading.Event()

    def call(_db: Database) -> None:
        silent.wait(30)

    with pytest.raises(RetryLater, match="no answer"):
        await pool.run(call)
    with pytest.raises(RetryLater, match="just now"):
        await pool.run(call)
    silent.set()


async def test_a_silent_server_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHUN_SECONDS", 0.0)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.01)
    patient = Pool("", "test", size=2, call_seconds=0.2)
    answers = threading.Event()

    def call(_db: Database) -> bool:
        return answers.wait(30)

    for seconds in ("0.2", "0.01", "0.01"):
        with pytest.raises(RetryLater, match=f"within {re.escape(seconds)} s"):
            await patient.run(call)
    answers.set()
    assert await patient.run(lambda _db: True)
    answers.clear()
    with pytest.raises(RetryLater, match=r"within 0\.2 s"):
        await patient.run(call)
    answers.set()
    patient.close()


async def test_a_slow_server_is_not_taken_for_silent_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call takes longer than a silent server is given, and less than any other."""
    monkeypatch.setattr(module, "SHUN_SECONDS", 0.0)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.01)
    patient = Pool("", "test", size=1, call_seconds=0.2)
    answers = threading.Event()
    with pytest.raises(RetryLater, match=r"within 0\.2 s"):
        await patient.run(lambda _db: answers.wait(30))
    with pytest.raises(RetryLater, match=r"within 0\.01 s"):
        await patient.run(lambda _db: None)
    answers.set()
    heard = False
    async with asyncio.timeout(10):
        while not heard:
            with contextlib.suppress(RetryLater):
                heard = await patient.run(lambda _db: not threading.Event().wait(0.05))
    patient.close()
