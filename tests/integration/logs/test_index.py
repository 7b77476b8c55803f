"""The SQL functions of the log index do what the model of it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.core.ids import uuid7
from penstock.logs.reading import end_of
from penstock.store import logs
from penstock.store.database import Database, PoisonRow
from penstock.store.logs import Chunk, Head, IndexItem, LogKey
from penstock.testing.graphs import World
from penstock.testing.log_index import ModelIndex


def job_id() -> str:
    return uuid7(time.time())


def chunk(first: int, last: int) -> Chunk:
    return Chunk(
        first_seq=first, last_seq=last, object_key=f"logs/{first}-{last}", bytes=10, raw_bytes=40,
        first_ts=first, last_ts=last, frames=[(0, first)], cluster_id="c", next_offset=last,
    )  # fmt: skip


def item(key: LogKey, head: Head, first: int, last: int, **more: object) -> IndexItem:
    """Lines `first` to `last` (none when last is smaller) on top of a head."""
    added = max(0, last - first + 1)
    return IndexItem(
        "default", *key, 3, lines_before=head.lines, lines=head.lines + added,
        last_seq=max(head.last_seq, last if added else 0), chunks=[chunk(first, last)] if added else [],
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture(scope="module")
def shared_db(postgres_dsn: str) -> Iterator[Database]:
    database = Database(postgres_dsn, "test")
    yield database
    database.close()


attempts = st.integers(1, 3)
moves = st.lists(
    st.tuples(
        attempts,
        st.integers(0, 3),  # lines left out before the chunk
        st.integers(0, 3),  # lines in it
        st.sampled_from([None, None, "here", "later"]),  # the end
        st.booleans(),  # what the writer believes is old
        st.sampled_from([False, False, False, True]),  # given up on
    ),
    max_size=20,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves)
def test_sql_and_model_agree(
    shared_db: Database, script: list[tuple[int, int, int, str | None, bool, bool]]
) -> None:
    model = ModelIndex()
    job = job_id()
    keys = [(job, attempt) for attempt in (1, 2, 3)]
    old = {key: Head() for key in keys}
    for attempt, skipped, lines, end, late, closes in script:
        key = (job, attempt)
        head = old[key] if late else model.heads([key])[key]
        first = head.last_seq + 1 + skipped
        last = first + lines - 1
        end_seq = {None: None, "here": max(last, head.last_seq), "later": last + 2}[end]
        write = item(key, head, first, last, end_seq=end_seq, closes=closes)
        old[key] = head
        assert logs.index(shared_db, [write]) == model.index([write])
        assert logs.heads(shared_db, keys) == model.heads(keys)
    assert logs.states(shared_db, keys) == model.states(keys)
    for key in keys:
        for seq in (1, 2, 5, 9, 50):
            assert logs.chunks(shared_db, *key, seq) == model.chunks(key, seq)
            assert logs.chunks(shared_db, *key, seq, limit=2) == model.chunks(key, seq)[:2]


def test_many_logs_in_one_statement(db: Database) -> None:
    keys = sorted((job_id(), 1) for _ in range(logs.MAX_ITEMS))
    assert logs.index(db, [item(key, Head(), 1, 5, end_seq=5) for key in keys]) == set(keys)
    # A second writer with the same beliefs, and some new ones in between.
    more = [(job_id(), 1) for _ in range(3)]
    again = [item(key, Head(), 1, 4) for key in (*keys[:7], *more)]
    assert logs.index(db, again) == set(more)
    assert all(head.complete and head.closed for head in logs.heads(db, keys).values())


def test_of_two_writers_one_wins(postgres_dsn: str) -> None:
    databases = [Database(postgres_dsn, f"test-{n}") for n in range(2)]
    key = (job_id(), 1)
    wins: list[int] = []
    barrier = threading.Barrier(2)

    def write(me: int) -> None:
        head = Head()
        for _ in range(20):
            barrier.wait()
            write = item(key, head, head.last_seq + 1, head.last_seq + 1 + me)
            if logs.index(databases[me], [write]):
                wins.append(me)
            barrier.wait()
            head = logs.heads(databases[me], [key])[key]

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chunks = logs.chunks(databases[0], *key, 1)
    assert len(wins) == len(chunks) == 20
    reached = 0
    for one in chunks:
        assert one.first_seq == reached + 1
        reached = one.last_seq
    for database in databases:
        database.close()


def test_a_value_that_postgres_refuses_spoils_only_its_own(db: Database) -> None:
    with pytest.raises(PoisonRow):
        logs.index(db, [item((job_id(), 2**40), Head(), 1, 2)])


def test_a_log_is_open_until_its_attempt_has_ended_for_long(db: Database) -> None:
    world = World(db, [{}, {}, {}, {}])
    world.claim(0, 1, 2, 3)
    keys = [(job, 1) for job in world.jobs]
    for key in keys[:3]:
        logs.index(db, [item(key, Head(), 1, 5)])
    assert logs.open_logs(db, [3], ended_seconds=0) == []
    world.finish(0, last_seq=7)
    world.finish(1, last_seq=3)
    world.finish(3, last_seq=4)
    assert logs.open_logs(db, [3], ended_seconds=60) == []
    assert logs.open_logs(db, [0, 1, 2, 4], ended_seconds=0) == []
    found = logs.open_logs(db, [3, 4], ended_seconds=0)
    # The second reported fewer lines than there are: it knows nothing.
    assert [((one.job_id, one.attempt), one.end_seq) for one in found] == [(keys[0], 7), (keys[1], None)]
    assert [one.job_id for one in logs.open_logs(db, [3], ended_seconds=0, limit=1)] == [keys[0][0]]
    one = found[0]
    head = logs.heads(db, [keys[0]])[keys[0]]
    logs.index(db, [item(keys[0], head, 6, 5, end_seq=one.end_seq, closes=True)])
    assert [one.job_id for one in logs.open_logs(db, [3], ended_seconds=0)] == [keys[1][0]]


def test_what_readers_are_told(db: Database) -> None:
    world = World(db, [{}, {}, {}])
    world.claim(0, 1, 2)
    keys = [(job, 1) for job in world.jobs]
    states = logs.states(db, keys)
    assert [end_of(states[key], 60) for key in keys] == [None, None, None]
    logs.index(db, [item(keys[0], Head(), 1, 5, end_seq=5)])
    world.finish(0, last_seq=5, success=False)
    world.finish(1, last_seq=0)
    world.finish(2, last_seq=9)
    states = logs.states(db, keys)
    first, second, third = (end_of(states[key], 60) for key in keys)
    assert first is not None
    assert (first.last_seq, first.state, first.incomplete, first.missing) == (5, "FAILED", False, 0)
    assert second is not None
    assert (second.last_seq, second.state, second.incomplete) == (0, "SUCCESS", False)
    assert third is None
    late = end_of(states[keys[2]], 0)
    assert late is not None
    assert (late.last_seq, late.incomplete, late.missing) == (0, True, 9)
