"""Intake on a real Postgres: accepted, rejected, repeated, in conflict, dead."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import orjson
import pytest

from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4, uuid7
from penstock.kafka.batches import Outcome
from penstock.kafka.records import Record
from penstock.store import jobs, policies, requests
from penstock.store.changes import Changes
from penstock.store.database import Database, PoisonRow
from penstock_services.intake import references
from penstock_services.intake.handle import Intake

NOW = time.time()
DIAMOND = {
    "name": "diamond",
    "jobs": {
        "a": {"executor": "noop"},
        "b": {"executor": "noop", "needs": ["a"]},
        "c": {"executor": "noop", "needs": ["a"]},
        "d": {"executor": "noop", "needs": ["b", "c"], "if": "always()"},
    },
}


class Shelf:
    """Definitions by digest."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        return self.kept.get(sha256)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def intake(db: Database, shelf: Shelf) -> Intake:
    return Intake(db, shelf, actor="intake-0", open_tenancy=True)


def record(value: Any, headers: list[tuple[str, bytes | None]] | None = None, offset: int = 0) -> Record:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return Record("penstock.pipelines.requested", 0, offset, b"default", raw, headers, 0)


def request(**more: Any) -> dict[str, Any]:
    return {"tenant": "default", "request_id": uuid4(), "definition": DIAMOND, **more}


def statuses(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        orjson.loads(one.value or b"") for one in outcome.records if one.topic == "penstock.pipelines.status"
    ]


def test_a_plain_request_becomes_a_pipeline(intake: Intake) -> None:
    outcome = intake.step([record(request())], NOW)
    (status,) = statuses(outcome)
    assert (status["state"], status["version"], status["counts"]) == (
        "PENDING",
        1,
        {"QUEUED": 1, "PENDING": 3},
    )
    topics = [one.topic for one in outcome.records]
    assert topics.count("penstock.jobs.status") == 4
    assert topics.count("penstock.jobs.ready.normal") == 1
    names = {name for one in outcome.records for name, _ in one.headers}
    assert {"ce_id", "ce_type", "ce_source", "ce_specversion", "content-type", "traceparent"} <= names


def test_an_equal_repeat_publishes_the_newest_status_and_changes_nothing(
    intake: Intake, db: Database
) -> None:
    wish = request()
    first = statuses(intake.step([record(wish)], NOW))
    before = db.rows("SELECT count(*) FROM jobs")
    outbox = db.one("SELECT count(*) FROM outbox")
    again = intake.step([record(wish), record(wish)], NOW)
    assert statuses(again) == [first[0], first[0]]
    assert db.rows("SELECT count(*) FROM jobs") == before
    assert db.one("SELECT count(*) FROM outbox") == outbox


def test_two_equal_requests_in_one_batch_are_one_pipeline(intake: Intake) -> None:
    wish = request()
    told = statuses(intake.step([record(wish), record(wish)], NOW))
    assert len({status["pipeline_id"] for status in told}) == 1


def test_another_body_under_the_same_key_is_rejected_once(intake: Intake) -> None:
    wish = request()
    (first,) = statuses(intake.step([record(wish)], NOW))
    other = {**wish, "priority": "high"}
    (refused,) = statuses(intake.step([record(other)], NOW))
    assert (refused["state"], refused["reason"]) == ("REJECTED", "request-conflict")
    assert refused["pipeline_id"] != first["pipeline_id"]
    (again,) = statuses(intake.step([record(other)], NOW))
    assert again["pipeline_id"] == refused["pipeline_id"]


def test_an_id_in_use_is_rejected_under_another(intake: Intake) -> None:
    mine = uuid7(NOW)
    (first,) = statuses(intake.step([record(request(pipeline_id=mine))], NOW))
    assert first["pipeline_id"] == mine
    (refused,) = statuses(intake.step([record(request(pipeline_id=mine))], NOW))
    assert (refused["state"], refused["reason"]) == ("REJECTED", "request-conflict")
    assert refused["pipeline_id"] != mine


def test_a_received_request_keeps_its_id(intake: Intake, db: Database) -> None:
    wish = request()
    probe = statuses(intake.step([record({**wish, "request_id": uuid4()})], NOW))
    digest = db.one(
        "SELECT encode(hash, 'hex') FROM requests WHERE pipeline_id = %s::uuid", (probe[0]["pipeline_id"],)
    )
    promised = uuid7(NOW)
    answer = requests.receive(
        db,
        tenant="default",
        key=wish["request_id"],
        digest=digest,
        pipeline_id=promised,
        body="{}",
        publish_seconds=2,
    )
    assert answer["outcome"] == "new"
    (status,) = statuses(intake.step([record(wish)], NOW))
    assert status["pipeline_id"] == promised
    assert requests.unapplied(db, 10) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"request_id": ""}, "request_id"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"definition": None}, ""),
        ({"definition_yaml": "jobs: {}"}, ""),
        ({"definition": {"jobs": {"a": {"scirpt": "x"}}}}, "jobs.a"),
        ({"definition": {"jobs": {"a": {"run": "x", "needs": ["a"]}}}}, "jobs.a"),
        ({"priority": 11}, "priority"),
        ({"git": {"sha": "abc"}}, "git.sha"),
        ({"git": 5}, "git"),
        ({"pipeline_id": "nonsense"}, "pipeline_id"),
        ({"pipeline_id": uuid7(NOW - 100_000)}, "pipeline_id"),
        ({"definition": None, "definition_ref": {"sha256": "0" * 64}}, "definition_ref"),
        ({"env": {"A": 1}}, "env"),
        ({"inputs": {"A": "x\0y"}}, "inputs"),
    ],
)
def test_bad_requests_are_rejected_with_a_place(intake: Intake, change: dict[str, Any], path: str) -> None:
    outcome = intake.step([record(request(**change), offset=hash(str(change)) % 2**31)], NOW)
    (status,) = statuses(outcome)
    assert (status["state"], status["reason"], status["terminal"]) == ("REJECTED", "invalid", True)
    assert any(path in problem.get("path", "") for problem in status["errors"])
    assert not outcome.dead


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nonsense",
        b"[]",
        b"5",
        b'{"request_id": "x"}',
        b'{"tenant": 5}',
        b'{"tenant": "A b"}',
        b"\xff\xfe",
        b"{" * 5000,
    ],
)
def test_what_nobody_can_be_told_of_is_dead(intake: Intake, raw: bytes) -> None:
    outcome = intake.step([record(raw)], NOW)
    assert len(outcome.dead) == 1
    assert outcome.dead[0].reason
    assert not outcome.records


def test_a_header_can_carry_the_key(intake: Intake) -> None:
    key = uuid4()
    wish = request()
    del wish["request_id"]
    (status,) = statuses(intake.step([record(wish, [("ce_id", key.encode())])], NOW))
    assert status["request_id"] == key


def test_a_definition_by_reference(intake: Intake, shelf: Shelf) -> None:
    data = orjson.dumps(DIAMOND)
    digest = hashlib.sha256(data).hexdigest()
    shelf.kept[digest] = data
    wish = request(definition=None, definition_ref={"sha256": digest})
    (status,) = statuses(intake.step([record(wish)], NOW))
    assert (status["state"], status["name"]) == ("PENDING", "diamond")


class Away:
    """Object storage that is away until told otherwise; `asked` are the digests it was asked for."""

    def __init__(self, shelf: Shelf, *, hangs: bool) -> None:
        self._shelf = shelf
        self._hangs = hangs
        self.back = threading.Event()
        self.asked: list[str] = []

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        self.asked.append(sha256)
        if self._hangs:
            self.back.wait()
        elif not self.back.is_set():
            raise RetryLater("object storage is away", component="s3")
        return self._shelf.definition(tenant, sha256)


@pytest.mark.parametrize("hangs", [True, False])
def test_while_object_storage_is_away_only_those_wait_that_need_it(
    db: Database, shelf: Shelf, hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "WAIT_SECONDS", 0.01 if hangs else 30.0)
    away = Away(shelf, hangs=hangs)
    intake = Intake(db, away, actor="intake-0", open_tenancy=True)
    data = orjson.dumps(DIAMOND)
    digest = hashlib.sha256(data).hexdigest()
    shelf.kept[digest] = data
    waits = record(request(definition=None, definition_ref={"sha256": digest}), offset=1)
    outcome = intake.step([record(request()), waits, record(request(), offset=2)], NOW)
    assert [status["state"] for status in statuses(outcome)] == ["PENDING", "PENDING"]
    assert outcome.later == [waits]
    assert not outcome.dead
    outcome = intake.step([waits, record(request(), offset=3)], NOW + 0.1)
    assert len(statuses(outcome)) == 1
    assert outcome.later == [waits]
    assert away.asked == [digest], "it is not asked at every turn"
    away.back.set()
    monkeypatch.setattr(references, "WAIT_SECONDS", 30.0)
    while outcome.later:
        outcome = intake.step(outcome.later, NOW + references.AGAIN_SECONDS)
    assert [status["state"] for status in statuses(outcome)] == ["PENDING"]


def test_unknown_tenants_are_rejected_unless_tenancy_is_open(db: Database, shelf: Shelf) -> None:
    strict = Intake(db, shelf, actor="intake-0", open_tenancy=False)
    wish = request(tenant=f"t-{uuid4()}")
    (status,) = statuses(strict.step([record(wish)], NOW))
    assert status["state"] == "REJECTED"
    assert "registered" in status["errors"][0]["message"]
    free = Intake(db, shelf, actor="intake-0", open_tenancy=True)
    (status,) = statuses(free.step([record({**wish, "request_id": uuid4()})], NOW))
    assert status["state"] == "PENDING"


def test_a_cancel_that_was_waiting_is_applied_at_once(intake: Intake, db: Database) -> None:
    mine = uuid7(NOW)
    requests.keep_cancel(db, "default", mine, "changed my mind")
    told = statuses(intake.step([record(request(pipeline_id=mine))], NOW))
    assert [status["state"] for status in told] == ["PENDING", "CANCELLING", "CANCELLED"]


def test_a_root_that_waits_for_a_failure_is_decided_about_at_once(intake: Intake) -> None:
    wanted = {"work": {"executor": "noop"}, "alarm": {"executor": "noop", "if": "failure()"}}
    outcome = intake.step([record(request(definition={"jobs": wanted}))], NOW)
    told = [orjson.loads(one.value or b"") for one in outcome.records if one.topic == "penstock.jobs.status"]
    (alarm,) = [one["job_id"] for one in told if one["name"] == "alarm"]
    hints = [one for one in outcome.records if one.topic == "penstock.jobs.reports"]
    assert [orjson.loads(one.value or b"")["undecided"] for one in hints] == [[alarm]]


def test_ten_thousand_jobs(intake: Intake, db: Database) -> None:
    jobs: dict[str, Any] = {
        f"j{n}": {"executor": "noop", "needs": [f"j{n - 1}"] if n else []} for n in range(10_000)
    }
    outcome = intake.step([record(request(definition={"jobs": jobs}))], NOW)
    (status,) = statuses(outcome)
    assert status["counts"] == {"PENDING": 9_999, "QUEUED": 1}


@pytest.mark.parametrize("name", ["ä/ö #1", "a" * 1024, "🦆", "..", "%2e", "null"])
def test_job_names_may_be_anything(intake: Intake, name: str) -> None:
    outcome = intake.step([record(request(definition={"jobs": {name: {"executor": "noop"}}}))], NOW)
    told = [orjson.loads(one.value or b"") for one in outcome.records if one.topic == "penstock.jobs.status"]
    assert [status["name"] for status in told] == [name]


def test_rejections_are_rows_too(intake: Intake, db: Database) -> None:
    (status,) = statuses(intake.step([record(request(definition={"jobs": {}}))], NOW))
    kept = requests.newest_status(db, [status["pipeline_id"]])
    assert kept[0]["errors"] == status["errors"]
    assert Changes().pipelines == []


def test_a_conflict_with_bad_git_stops_nobody(intake: Intake) -> None:
    """Its repo is larger than an index row of Postgres may be; the next request is taken all the same."""
    wish = request()
    intake.step([record(wish)], NOW)
    for git in ({"repo": "".join(uuid4() for _ in range(600))}, {"branch": "a\0b"}):
        (refused,) = statuses(intake.step([record({**wish, "git": git})], NOW))
        assert (refused["state"], refused["reason"], refused["git"]) == ("REJECTED", "request-conflict", None)
    assert statuses(intake.step([record(request())], NOW))[0]["state"] == "PENDING"


def test_what_postgres_refuses_is_refused_alone(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_args: object, **_more: object) -> None:
        raise PoisonRow("a value that nobody foresaw")

    monkeypatch.setattr(requests, "accept", no)
    (status,) = statuses(intake.step([record(request())], NOW))
    assert (status["state"], status["reason"]) == ("REJECTED", "invalid")
    assert "nobody foresaw" in status["errors"][0]["message"]


class Waiting:
    """A request over HTTP that waits to be applied, and its record as the sweep publishes it."""

    def __init__(self, db: Database, body: bytes) -> None:
        self.key = uuid4()
        self.pipeline = uuid7(NOW)
        requests.receive(
            db, tenant="default", key=self.key, digest="ab" * 32, pipeline_id=self.pipeline,
            body=body.decode(), publish_seconds=3600,
        )  # fmt: skip
        self.record = record(body, [("ce_id", self.key.encode())])


def waits(db: Database, waiting: Waiting) -> bool:
    return requests.received(db, "default", waiting.key) is not None


def test_what_goes_to_the_dead_letters_becomes_rejected(intake: Intake, db: Database) -> None:
    waiting = Waiting(db, b"no JSON at all")
    outcome = intake.step([waiting.record, record(request(), offset=1)], NOW)
    assert [one.record for one in outcome.dead] == [waiting.record]
    refused, taken = sorted(statuses(outcome), key=lambda status: status["state"], reverse=True)
    assert (refused["state"], refused["reason"]) == ("REJECTED", "invalid")
    assert (refused["pipeline_id"], refused["request_id"]) == (waiting.pipeline, waiting.key)
    assert "cannot handle" in refused["errors"][0]["message"]
    assert taken["state"] == "PENDING"
    assert not waits(db, waiting)
    assert statuses(intake.step([waiting.record], NOW)) == []


def test_a_bug_of_ours_ends_the_request_that_met_it(
    intake: Intake, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("penstock_services.intake.handle.interpret", bug)
    waiting = Waiting(db, orjson.dumps(request()))
    with pytest.raises(KeyError):
        intake.step([waiting.record, record(request(), offset=1)], NOW)
    assert waits(db, waiting), "the loop halves the batch first"
    outcome = intake.step([waiting.record], NOW)
    assert [one.error for one in outcome.dead] == ["KeyError"]
    assert [status["state"] for status in statuses(outcome)] == ["REJECTED"]
    assert not waits(db, waiting)


@pytest.mark.parametrize("key", [b"default", b"\xff", b"no tenant", b"a\0b", None])
def test_another_producer_s_garbage_ends_no_request(intake: Intake, db: Database, key: bytes | None) -> None:
    waiting = Waiting(db, orjson.dumps(request()))
    garbage = record(b"garbage", [("ce_id", waiting.key.encode())])._replace(key=key)
    outcome = intake.step([garbage], NOW)
    assert len(outcome.dead) == 1
    assert statuses(outcome) == []
    assert waits(db, waiting)


def test_an_id_promised_to_two_keys_is_given_to_one(intake: Intake, db: Database) -> None:
    mine = uuid7(NOW)
    first, second = request(pipeline_id=mine), request(pipeline_id=mine)
    probe = statuses(intake.step([record({**first, "request_id": uuid4(), "pipeline_id": ""})], NOW))
    digest = db.one(
        "SELECT encode(hash, 'hex') FROM requests WHERE pipeline_id = %s::uuid", (probe[0]["pipeline_id"],)
    )
    for wish in (first, second):
        requests.receive(
            db, tenant="default", key=wish["request_id"], digest=digest, pipeline_id=mine, body="{}",
            publish_seconds=0,
        )  # fmt: skip
    (taken,) = statuses(intake.step([record(first)], NOW))
    assert (taken["state"], taken["pipeline_id"]) == ("PENDING", mine)
    (refused,) = statuses(intake.step([record(second)], NOW))
    assert (refused["state"], refused["reason"]) == ("REJECTED", "request-conflict")
    assert refused["pipeline_id"] != mine
    assert requests.unapplied(db, 10) == []


def test_a_pipeline_beyond_the_quota_of_its_tenant_is_refused(intake: Intake, db: Database) -> None:
    tenant = f"t-{uuid4()[:8]}"
    policies.set_quota(db, Changes(), tenant, "*", queued=7, actor="test")
    wishes = [request(tenant=tenant) for _ in range(2)]
    told = statuses(intake.step([record(wish) for wish in wishes], NOW))
    assert [(one["state"], one["reason"]) for one in told] == [
        ("PENDING", None), ("REJECTED", "quota-exceeded"),
    ]  # fmt: skip
    assert "unfinished jobs" in told[1]["errors"][0]["message"]
    (again,) = statuses(intake.step([record(wishes[1])], NOW))
    assert again["pipeline_id"] == told[1]["pipeline_id"], "its key means the refusal"


def test_a_newer_pipeline_of_a_group_cancels_the_older_one_at_once(intake: Intake, db: Database) -> None:
    rule = {"group": uuid4(), "cancel-in-progress": True}
    wishes = [request(definition={**DIAMOND, "concurrency": rule}) for _ in range(2)]
    (older,) = statuses(intake.step([record(wishes[0])], NOW))
    told = statuses(intake.step([record(wishes[1])], NOW))
    mine = [(one["state"], one["reason"]) for one in told if one["pipeline_id"] == older["pipeline_id"]]
    assert mine == [("CANCELLING", "superseded"), ("CANCELLED", "superseded")]
    assert set(jobs.states(db, older["pipeline_id"]).values()) == {"CANCELLED"}
