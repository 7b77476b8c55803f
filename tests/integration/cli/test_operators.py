"""`penstock tenant`, `token` and `dlq` on real servers."""

from __future__ import annotations

import json
import uuid

import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import exit_codes
from penstock.events.envelope import header
from penstock.events.topics import CANCEL_REQUESTED, JOBS_STATUS, PIPELINES_REQUESTED, PIPELINES_STATUS
from penstock.kafka import publish
from penstock.kafka.admin import apply_topics
from penstock.kafka.dlq import dead_letter
from penstock.kafka.producer import Producer
from penstock.kafka.records import Record
from penstock.kafka.tail import TailSource
from penstock.runtime.settings import KafkaSettings
from penstock.store.database import Database
from penstock.store.tenants import identify
from penstock.testing.graphs import World


def penstock(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


@pytest.fixture
def dsn(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PENSTOCK_POSTGRES_DSN", postgres_dsn)
    return postgres_dsn


@pytest.mark.usefixtures("dsn")
def test_a_tenant_is_made_once() -> None:
    assert json.loads(penstock("tenant", "create", "acme", "--json").stdout) == {
        "tenant": "acme",
        "created": True,
    }
    assert penstock("tenant", "create", "acme").stdout == "acme was there already\n"
    assert "acme" in penstock("tenant", "ls").stdout.split()


@pytest.mark.usefixtures("dsn")
def test_a_token_is_good_until_it_is_revoked(db: Database) -> None:
    penstock("tenant", "create", "tokens")
    made = penstock("token", "create", "--tenant", "tokens", "--scope", "read", "--name", "ci")
    token = made.stdout.strip()
    identity = identify(db, token)
    assert identity is not None
    assert (identity.tenant, identity.scopes) == ("tokens", ("read",))
    listed = penstock("token", "ls", "--tenant", "tokens")
    assert token not in listed.stdout
    assert identity.token_id in listed.stdout
    assert penstock("token", "revoke", identity.token_id).stdout == "revoked\n"
    assert identify(db, token) is None
    assert penstock("token", "revoke", identity.token_id).stdout == "it was revoked already\n"


@pytest.mark.usefixtures("dsn")
def test_what_is_not_there_is_told() -> None:
    unknown = penstock("token", "create", "--tenant", "nobody")
    assert (unknown.exit_code, unknown.stdout) == (exit_codes.USAGE, "")
    assert "`penstock tenant create nobody`" in unknown.stderr
    assert penstock("token", "revoke", str(uuid.uuid4())).exit_code == exit_codes.USAGE


def test_dead_letters_are_shown_with_their_origin(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_KAFKA_BOOTSTRAP", kafka_settings.kafka_bootstrap)
    apply_topics(kafka_settings)
    why = f"not JSON {uuid.uuid4()}"
    record = Record(PIPELINES_REQUESTED.name, 3, 14, b"default", b"\xff{\x1b[2J", [("mine", b"kept")], 0)
    with Producer(kafka_settings, "test") as producer:
        producer.send([dead_letter(record, why, "ValueError", 0.0)])
    (depth,) = [
        found["records"]
        for found in json.loads(penstock("dlq", "ls", "--json").stdout)["topics"]
        if found["topic"] == "penstock.pipelines.requested.dlq"
    ]
    assert depth >= 1
    shown = json.loads(penstock("dlq", "show", "pipelines.requested", "--json", "--limit", "1").stdout)
    assert shown["records"] == [
        {
            "id": shown["records"][0]["id"], "replays": 0, "reason": why, "error": "ValueError",
            "topic": PIPELINES_REQUESTED.name, "partition": 3,
            "offset": 14, "at": "1970-01-01T00:00:00.000000Z", "key": "default", "value": "\\xff{\x1b[2J",
            "headers": {"mine": "kept"},
        }
    ]  # fmt: skip
    text = penstock("dlq", "show", "pipelines.requested", "--limit", "1").stdout
    assert f"why    {why}" in text
    assert text.startswith(f"{shown['records'][0]['id']}  1970-01-01")
    assert "\x1b" not in text


def test_dead_letters_are_sent_again_or_dropped(
    kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_KAFKA_BOOTSTRAP", kafka_settings.kafka_bootstrap)
    apply_topics(kafka_settings)
    records = [Record(CANCEL_REQUESTED.name, 0, n, b"k", str(n).encode(), [], 0) for n in range(3)]
    with Producer(kafka_settings, "test") as producer:
        producer.send([dead_letter(one, "why", "", 0.0) for one in records])
    topic = "cancel.requested"
    shown = json.loads(penstock("dlq", "show", topic, "--json").stdout)["records"]
    first, second, third = (str(one["id"]) for one in shown[-3:])

    for words in ([], [first, "--all"]):
        assert "or --all" in penstock("dlq", "replay", topic, *words).stderr
    unknown = penstock("dlq", "drop", topic, "--yes", "987654321")
    assert unknown.exit_code == exit_codes.USAGE
    assert f"there are {shown[0]['id']} to {third}" in unknown.stderr
    assert "say --yes" in penstock("dlq", "drop", topic, first).stderr

    full = CANCEL_REQUESTED.name + ".dlq"
    assert penstock("dlq", "replay", topic, first).stdout == f"replayed 1 record of {full}\n"
    assert json.loads(penstock("dlq", "drop", topic, second, third, "--yes", "--json").stdout) == {
        "topic": full,
        "dropped": 2,
    }
    assert penstock("dlq", "drop", topic, "--all", "--yes").exit_code == exit_codes.OK
    assert json.loads(penstock("dlq", "show", topic, "--json").stdout)["records"] == []


@pytest.mark.usefixtures("dsn")
def test_status_records_are_published_again(
    db: Database, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_KAFKA_BOOTSTRAP", kafka_settings.kafka_bootstrap)
    apply_topics(kafka_settings)
    world = World(db, [{}, {}], [(0, 1)])
    world.run(0)
    tail = TailSource(kafka_settings, [JOBS_STATUS.name, PIPELINES_STATUS.name])
    made = publish.records(world.changes, "test")
    status = [one for one in made if one.topic in (JOBS_STATUS.name, PIPELINES_STATUS.name)]
    assert penstock("status", "republish", "--hours", "0").exit_code == exit_codes.USAGE
    counts = json.loads(penstock("status", "republish", "--json").stdout)["records"]
    assert sum(counts.values()) == len(status)
    found: list[Record] = []
    while len(found) < len(status):
        found += tail.poll(0.1)
    tail.close()
    assert {header(one.headers, "replayed") for one in found} == {"1"}
    assert sorted(json.dumps(json.loads(one.value or b""), sort_keys=True) for one in found) == sorted(
        json.dumps(json.loads(one.value or b""), sort_keys=True) for one in status
    )
