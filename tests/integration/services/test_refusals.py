"""Under which id intake refuses a request: never under one that means something else."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from penstock.core.ids import uuid4, uuid7
from penstock.kafka.batches import Outcome
from penstock.kafka.records import Record
from penstock.store import queries, requests
from penstock.store.database import Database, PoisonRow
from penstock_services.intake.handle import Intake

NOW = time.time()
GOOD = {"jobs": {"a": {"executor": "noop"}}}
BAD = {"jobs": {"a": {"executor": "noop", "needs": ["nobody"]}}}


class Empty:
    """No definitions are kept."""

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        return None


@pytest.fixture
def intake(db: Database) -> Intake:
    return Intake(db, Empty(), actor="intake-0", open_tenancy=True)


def record(value: dict[str, Any], offset: int = 0) -> Record:
    return Record("penstock.pipelines.requested", 0, offset, b"key", orjson.dumps(value), None, 0)


def request(tenant: str, definition: dict[str, Any], pipeline_id: str) -> dict[str, Any]:
    return {
        "tenant": tenant, "request_id": uuid4(), "pipeline_id": pipeline_id, "definition": definition,
    }  # fmt: skip


def statuses(outcome: Outcome) -> list[dict[str, Any]]:
    assert not outcome.dead
    return [
        orjson.loads(one.value or b"") for one in outcome.records if one.topic == "penstock.pipelines.status"
    ]


def promise(db: Database, wish: dict[str, Any], digest: str) -> None:
    """The HTTP door took the request."""
    answer = requests.receive(
        db, tenant=wish["tenant"], key=wish["request_id"], digest=digest, pipeline_id=wish["pipeline_id"],
        body=orjson.dumps(wish).decode(), publish_seconds=0,
    )  # fmt: skip
    assert answer["outcome"] == "new"


def digest_of(db: Database, intake: Intake, definition: dict[str, Any]) -> str:
    probe = request("default", definition, "")
    intake.step([record(probe)], NOW)
    return requests.known(db, [("default", probe["request_id"])])["default", probe["request_id"]]["hash"]


def test_an_invalid_request_for_another_tenants_id_is_told_of_its_own(intake: Intake, db: Database) -> None:
    mine = uuid7(NOW)
    intake.step([record(request("alice", GOOD, mine))], NOW)
    wish = request("bob", BAD, mine)
    (refused,) = statuses(intake.step([record(wish)], NOW))
    assert (refused["tenant"], refused["state"], refused["reason"]) == ("bob", "REJECTED", "invalid")
    assert refused["pipeline_id"] != mine
    assert "nobody" in str(refused["errors"])
    assert statuses(intake.step([record(wish)], NOW)) == [refused]
    seen = queries.request(db, "bob", wish["request_id"])
    assert seen is not None
    assert (seen["pipeline_id"], seen["state"]) == (refused["pipeline_id"], "REJECTED")
    assert requests.newest_status(db, [mine])[0]["tenant"] == "alice"


@pytest.mark.parametrize("definitions", [(BAD, BAD), (BAD, GOOD), (GOOD, BAD)])
def test_two_that_want_the_same_id_in_one_batch_are_both_told(
    intake: Intake, definitions: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    mine = uuid7(NOW)
    wishes = [request(tenant, bad, mine) for tenant, bad in zip(("alice", "bob"), definitions, strict=True)]
    told = statuses(intake.step([record(wish, n) for n, wish in enumerate(wishes)], NOW))
    assert sorted(status["request_id"] for status in told) == sorted(wish["request_id"] for wish in wishes)
    assert len({status["pipeline_id"] for status in told}) == 2
    (first,) = (status for status in told if status["pipeline_id"] == mine)
    assert first["state"] == ("PENDING" if GOOD in definitions else "REJECTED")


@pytest.mark.parametrize("definition", [GOOD, BAD])
def test_a_request_whose_promised_id_was_given_away_is_found_by_its_key(
    intake: Intake, db: Database, definition: dict[str, Any]
) -> None:
    """Before intake came to it, another tenant's request under the same id was taken."""
    mine = uuid7(NOW)
    wish = request("bob", definition, mine)
    promise(db, wish, digest_of(db, intake, definition))
    intake.step([record(request("alice", GOOD, mine))], NOW)
    (refused,) = statuses(intake.step([record(wish)], NOW))
    assert (refused["tenant"], refused["state"]) == ("bob", "REJECTED")
    seen = queries.request(db, "bob", wish["request_id"])
    assert seen is not None
    assert (seen["pipeline_id"], seen["state"]) == (refused["pipeline_id"], "REJECTED")
    assert statuses(intake.step([record(wish)], NOW)) == [refused]
    assert requests.unapplied(db, 10) == []


def test_a_promised_id_is_kept_while_it_is_free(intake: Intake, db: Database) -> None:
    wish = request("bob", BAD, "")
    promised = {**wish, "pipeline_id": uuid7(NOW)}
    promise(db, promised, digest_of(db, intake, BAD))
    (refused,) = statuses(intake.step([record(wish)], NOW))
    assert refused["pipeline_id"] == promised["pipeline_id"]


def test_what_postgres_refuses_under_an_id_in_use_is_told_under_another(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = uuid7(NOW)
    intake.step([record(request("alice", GOOD, mine))], NOW)

    def no(*_args: object, **_more: object) -> None:
        raise PoisonRow("a value that nobody foresaw")

    monkeypatch.setattr(requests, "accept", no)
    (refused,) = statuses(intake.step([record(request("bob", GOOD, mine))], NOW))
    assert (refused["tenant"], refused["state"]) == ("bob", "REJECTED")
    assert refused["pipeline_id"] != mine


def test_what_cannot_be_read_is_told_under_another_id_where_its_own_was_given_away(
    intake: Intake, db: Database
) -> None:
    mine, key = uuid7(NOW), uuid4()
    requests.receive(
        db, tenant="bob", key=key, digest="ab" * 32, pipeline_id=mine, body="no JSON", publish_seconds=0
    )
    intake.step([record(request("alice", GOOD, mine))], NOW)
    garbage = Record("penstock.pipelines.requested", 0, 1, b"bob", b"no JSON", [("ce_id", key.encode())], 0)
    outcome = intake.step([garbage], NOW)
    assert [one.record for one in outcome.dead] == [garbage]
    outcome.dead = []
    (refused,) = statuses(outcome)
    assert (refused["request_id"], refused["state"]) == (key, "REJECTED")
    assert refused["pipeline_id"] != mine
    assert requests.received(db, "bob", key) is None
