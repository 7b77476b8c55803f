"""Every rule of the fault proxy against real servers, met by Penstock's own clients: they lose nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4, uuid7
from penstock.events.topics import JOBS_REPORTS, LOGS_FRAMES
from penstock.kafka.consumer import GroupSource
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing
from penstock.kafka.tail import TailSource
from penstock.local.services import SERVICES
from penstock.objects.ports import ObjectMissing
from penstock.objects.s3 import S3Objects
from penstock.runtime.settings import KafkaSettings, ObjectSettings
from penstock.store import requests
from penstock.store.database import Database
from penstock.testing.chaos import hooks
from penstock.testing.chaos.arena import Arena
from penstock.testing.chaos.proxy import DOWN, Proxies, Rule

pytestmark = pytest.mark.timeout(300)
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """The three servers alone, behind the proxy."""
    with Arena(dict.fromkeys(SERVICES, 0), proxied=True, seed=1) as made:
        yield made


@pytest.fixture
def proxies(arena: Arena) -> Proxies:
    assert arena.proxies is not None
    return arena.proxies


@contextlib.contextmanager
def lifted(rule: Rule) -> Iterator[Rule]:
    """The rule, for as long as the context lasts."""
    try:
        yield rule
    finally:
        rule.lift()


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Postgres


@pytest.fixture(scope="module")
def dsn(arena: Arena) -> str:
    """By the proxy; with a table of the tests' own."""
    assert arena.proxies is not None
    arena.db.rows("CREATE TABLE noted (id int PRIMARY KEY, text text NOT NULL)")
    own = arena.stack.postgres.dsn
    return own.replace(own.rpartition(":")[2], f"{arena.proxies.postgres.port}/penstock")


@pytest.fixture
def db(dsn: str, arena: Arena) -> Iterator[Database]:
    with contextlib.closing(Database(dsn, "tests-proxy")) as made:
        assert made.one("SELECT 1") == 1
        yield made
    arena.db.rows("TRUNCATE noted")


def note(db: Database, number: int = 1) -> None:
    db.rows("INSERT INTO noted VALUES (%s, 'x')", (number,))


def noted(arena: Arena) -> list[int]:
    """By the server's own port."""
    return [row[0] for row in arena.db.rows("SELECT id FROM noted ORDER BY id")]


def test_large_statements_and_answers_pass(db: Database) -> None:
    text = "0123456789abcdef" * (MEGABYTE // 2)
    assert db.one("SELECT %s || 'x'", (text,)) == text + "x"


def test_the_answer_of_a_commit_is_lost(arena: Arena, proxies: Proxies, db: Database) -> None:
    with lifted(proxies.postgres.lose_commit_answer(1, like="INSERT INTO noted")) as rule:
        assert db.one("SELECT count(*) FROM noted") == 0
        with pytest.raises(RetryLater):
            note(db)
        assert noted(arena) == [1]
        note(db, 2)
        assert (noted(arena), rule.hits) == ([1, 2], 1)


def test_a_request_whose_answer_is_lost_is_a_repeat(proxies: Proxies, db: Database) -> None:
    def receive() -> dict[str, Any]:
        return requests.receive(
            db, tenant="default", key=key, digest="ab" * 32, pipeline_id=new, body="{}", publish_seconds=60
        )

    key, new = uuid4(), uuid7(time.time())
    with lifted(proxies.postgres.lose_commit_answer(1)) as rule:
        with pytest.raises(RetryLater):
            receive()
        assert receive()["outcome"] == "repeat"
        assert rule.hits == 1


def test_a_connection_is_cut_before_the_commit(arena: Arena, proxies: Proxies, db: Database) -> None:
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'noted'::regclass AND mode = 'RowExclusiveLock'"
    with lifted(proxies.postgres.cut_before_commit(2)) as rule:
        for _ in range(2):
            with pytest.raises(RetryLater):
                note(db)
        until(lambda: arena.db.one(held) == 0)  # what it had done is rolled back
        assert noted(arena) == []
        note(db)
        assert (noted(arena), rule.hits) == ([1], 2)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_conflicts_are_tried_again_at_once(
    arena: Arena, proxies: Proxies, db: Database, sqlstate: str
) -> None:
    with lifted(proxies.postgres.inject(sqlstate, 4, like="noted")) as rule:
        note(db)
        assert (noted(arena), rule.hits) == ([1], 4)


@pytest.mark.parametrize("sqlstate", ["57P01", "53100"])
def test_an_error_of_the_server_comes_once(
    arena: Arena, proxies: Proxies, db: Database, sqlstate: str
) -> None:
    with lifted(proxies.postgres.inject(sqlstate, who="^tests-proxy$")) as rule:
        with pytest.raises(RetryLater, match="injected by the fault proxy"):
            note(db)
        assert noted(arena) == []
        note(db)
        assert (noted(arena), rule.hits) == ([1], 1)


def test_new_connections_are_refused(arena: Arena, proxies: Proxies, db: Database) -> None:
    with lifted(proxies.postgres.inject("53300", 2)) as rule:
        with pytest.raises(RetryLater):
            note(db)
        for _ in range(2):
            with pytest.raises(RetryLater, match="injected by the fault proxy"):
                note(db)
        note(db)
        assert (noted(arena), rule.hits) == ([1], 2)


def test_functions_by_libpq_meet_the_same_rules(proxies: Proxies, db: Database) -> None:
    postgres = proxies.postgres
    for make in (
        lambda: postgres.inject("40001", 3, like="acked_v1"),
        lambda: postgres.inject("53100", 1, like="acked_v1"),
        lambda: postgres.cut_before_commit(1, like="acked_v1"),
        lambda: postgres.lose_commit_answer(1, like="acked_v1"),
    ):
        with lifted(make()) as rule:
            while not rule.hits:
                with contextlib.suppress(RetryLater):
                    db.call("acked_v1", [])
            db.call("acked_v1", [])


def test_a_server_that_hangs_goes_on_where_it_was(arena: Arena, proxies: Proxies, db: Database) -> None:
    rule = proxies.postgres.hang()
    thread = threading.Thread(target=note, args=(db,))
    with lifted(rule):
        thread.start()
        until(lambda: rule.hits > 0)
        thread.join(0.2)
        assert thread.is_alive()
        assert noted(arena) == []
    thread.join()
    assert noted(arena) == [1]


def test_a_server_that_cannot_be_reached(arena: Arena, proxies: Proxies, db: Database) -> None:
    with lifted(proxies.postgres.cut()) as rule:
        assert not db.answers()
        with pytest.raises(RetryLater):
            note(db)
        assert rule.hits >= 2
    note(db)
    with lifted(proxies.postgres.delay(100, 50)) as rule:
        began = time.monotonic()
        note(db, 2)
        assert time.monotonic() - began >= 0.1
        assert rule.hits > 0
    assert noted(arena) == [1, 2]


# Kafka


@pytest.fixture(scope="module")
def kafka(arena: Arena) -> KafkaSettings:
    assert arena.proxies is not None
    return KafkaSettings(kafka_bootstrap=f"127.0.0.1:{arena.proxies.kafka.port}")


@pytest.fixture
def producer(kafka: KafkaSettings) -> Iterator[Producer]:
    with Producer(kafka, "tests-producer", delivery_timeout_ms=60_000) as made:
        yield made


class Reader:
    """Of one topic, by a group of its own; keeps the values that begin with its mark."""

    def __init__(self, kafka: KafkaSettings, topic: str, mark: str) -> None:
        self.values: list[bytes] = []
        self._mark = mark.encode()
        self._source = GroupSource(kafka, [topic], f"test-{mark}")

    def read(self, count: int) -> list[bytes]:
        """So many different ones, and what comes for a moment after."""
        until(lambda: self._turn() and len(set(self.values)) >= count)
        for _ in range(5):
            self._turn()
        return self.values

    def _turn(self) -> bool:
        records = self._source.poll(0.1)
        self.values += [one.value for one in records if one.value and one.value.startswith(self._mark)]
        return True

    def close(self) -> None:
        self._source.close()


def batch(mark: str, count: int, size: int = 100, topic: str = JOBS_REPORTS.name) -> list[Outgoing]:
    return [Outgoing(topic, str(n), f"{mark} {n:05d} ".encode() + bytes(size), []) for n in range(count)]


def send_until_taken(producer: Producer, records: list[Outgoing]) -> None:
    """As every caller does: what is not known to be taken is sent again, whole."""

    def taken() -> bool:
        try:
            producer.send(records)
        except RetryLater:
            return False
        return True

    until(taken)


@contextlib.contextmanager
def reading(kafka: KafkaSettings, topic: str = JOBS_REPORTS.name) -> Iterator[tuple[str, Reader]]:
    """A mark, and the reader of all that has it."""
    mark = uuid4()
    reader = Reader(kafka, topic, mark)
    try:
        yield mark, reader
    finally:
        reader.close()


def test_large_records_pass_both_ways(kafka: KafkaSettings, producer: Producer) -> None:
    with reading(kafka, LOGS_FRAMES.name) as (mark, reader):
        sent = batch(mark, 12, 4 * MEGABYTE - 1000, LOGS_FRAMES.name)
        producer.send(sent)
        assert sorted(reader.read(12)) == [one.value for one in sent]


@pytest.mark.parametrize("size", [100, 300_000])
def test_lost_answers_of_produce_requests_make_no_repeat(
    kafka: KafkaSettings, proxies: Proxies, producer: Producer, size: int
) -> None:
    """Several requests are in flight at once, and the client sends again what it had no answer for."""
    with reading(kafka) as (mark, reader):
        sent = batch(mark, 60, size)
        with lifted(proxies.kafka.lose_produce_answer(3, client="^tests-producer$")) as rule:
            for part in (sent[:20], sent[20:40], sent[40:]):
                producer.send(part)
            assert rule.hits == 3
        assert sorted(reader.read(60)) == [one.value for one in sent]


def test_a_broker_that_leads_no_more(kafka: KafkaSettings, proxies: Proxies, producer: Producer) -> None:
    """Even where it refuses the first batch and takes the second, which was on its way."""
    with reading(kafka) as (mark, reader):
        sent = batch(mark, 60)
        with lifted(proxies.kafka.inject_not_leader(3, client="^tests-producer$")) as rule:
            for part in (sent[:30], sent[30:]):
                send_until_taken(producer, part)
            assert rule.hits == 3
        assert sorted(set(reader.read(60))) == [one.value for one in sent]


def test_a_broker_that_hangs_or_answers_late(
    kafka: KafkaSettings, proxies: Proxies, producer: Producer
) -> None:
    with reading(kafka) as (mark, reader):
        sent = batch(mark, 40)
        reader.read(0)
        thread = threading.Thread(target=producer.send, args=(sent[:20],))
        with lifted(proxies.kafka.hang()) as rule:
            thread.start()
            until(lambda: rule.hits > 0)
            thread.join(0.5)
            assert thread.is_alive()
        thread.join()
        thread = threading.Thread(target=producer.send, args=(sent[20:],))
        with lifted(proxies.kafka.one_way(DOWN)) as rule:
            thread.start()
            until(lambda: rule.hits > 0)
            thread.join(0.5)
            assert thread.is_alive()
        thread.join()
        with lifted(proxies.kafka.delay_fetch(200)) as late:
            assert sorted(reader.read(40)) == [one.value for one in sent]
            until(lambda: late.hits > 0 and reader.read(0) is not None)


def test_a_broker_that_cannot_be_reached(kafka: KafkaSettings, proxies: Proxies, producer: Producer) -> None:
    with reading(kafka) as (mark, reader):
        sent = batch(mark, 20)
        reader.read(0)
        thread = threading.Thread(target=producer.send, args=(sent,))
        with lifted(proxies.kafka.cut()) as rule:
            thread.start()
            thread.join(1.0)
            assert thread.is_alive()
            until(lambda: rule.hits > 2)
        thread.join()
        with lifted(proxies.kafka.delay(20)) as late:
            assert sorted(reader.read(20)) == [one.value for one in sent]
            until(lambda: late.hits > 0 and reader.read(0) is not None)


# S3


@pytest.fixture
def objects(arena: Arena, proxies: Proxies) -> S3Objects:
    given = arena.stack.s3
    return S3Objects(
        ObjectSettings(
            s3_endpoint=f"http://127.0.0.1:{proxies.s3.port}",
            s3_access_key=given.access_key,
            s3_secret_key=given.secret_key,
            s3_bucket=given.bucket,
        )
    )


def put(objects: S3Objects, key: str, data: bytes, *, if_none_match: bool = True) -> bool:
    return objects.put(key, data, content_type="text/plain", if_none_match=if_none_match)


def test_objects_pass_unchanged(objects: S3Objects) -> None:
    key, data = uuid4(), bytes(range(256)) * (8 * MEGABYTE // 256)
    assert put(objects, key, data)
    assert objects.get(key) == data
    assert objects.get(key, (10, 20)) == data[10:20]
    assert objects.head(key).size == len(data)
    assert [found.key for found in objects.list(key)] == [key]
    objects.delete(key)
    with pytest.raises(ObjectMissing):
        objects.head(key)


@pytest.mark.parametrize("size", [10, 4 * MEGABYTE])
def test_a_busy_storage_is_asked_again(proxies: Proxies, objects: S3Objects, size: int) -> None:
    key, data = uuid4(), bytes(size)
    with lifted(proxies.s3.status(503, 2)) as rule:
        assert put(objects, key, data)
        assert rule.hits == 2
    with lifted(proxies.s3.status(500, 2, code="InternalError", like=f"^(GET|HEAD) .*{key}")) as rule:
        assert objects.get(key) == data
        assert rule.hits == 2
    with lifted(proxies.s3.status(503, 1.0)):
        with pytest.raises(RetryLater):
            objects.get(key)
        with pytest.raises(RetryLater):
            objects.head(key)
    assert objects.get(key) == data


def test_an_answer_that_is_lost_leaves_the_object_there(proxies: Proxies, objects: S3Objects) -> None:
    key = uuid4()
    with lifted(proxies.s3.lose_answer(1)) as rule:
        assert not put(objects, key, b"first"), "its second try finds what the first has stored"
        assert rule.hits == 1
    assert objects.get(key) == b"first"


def test_a_body_that_ends_in_the_middle(proxies: Proxies, objects: S3Objects) -> None:
    key, data = uuid4(), bytes(range(256)) * (2 * MEGABYTE // 256)
    with lifted(proxies.s3.reset_mid_body(1, like="^PUT ")) as rule:
        assert put(objects, key, data)
        assert rule.hits == 1
    with lifted(proxies.s3.reset_mid_body(1, like="^GET ")) as rule:
        with pytest.raises(RetryLater):
            objects.get(key)
        assert rule.hits == 1
    assert objects.get(key) == data


def test_a_storage_that_is_slow_or_away(proxies: Proxies, objects: S3Objects) -> None:
    key, data = uuid4(), bytes(MEGABYTE)
    with lifted(proxies.s3.slow(4 * MEGABYTE)) as rule:
        began = time.monotonic()
        assert put(objects, key, data)
        assert time.monotonic() - began >= 0.2
        assert rule.hits > 0
    with lifted(proxies.s3.cut()) as rule:
        with pytest.raises(RetryLater):
            put(objects, key, data)
        assert rule.hits > 0
    assert objects.get(key) == data


def test_an_arena_is_healed_of_all_that_was_done_to_it(arena: Arena, proxies: Proxies) -> None:
    hooks.arm(arena.hooks, "intake-0", "intake.committed")
    arena.hold("s3")
    assert arena.freeze("postgres")
    for rule in (proxies.kafka.hang, proxies.postgres.cut, lambda: proxies.s3.delay(60_000)):
        rule()
    until(lambda: not arena.is_ready("s3"))
    arena.heal()
    arena.until(arena.all_ready)
    assert arena.db.one("SELECT 1") == 1
    assert TailSource(arena.kafka(), [JOBS_REPORTS.name], name="test").marks()
    assert list((arena.hooks / "armed").iterdir()) == []
