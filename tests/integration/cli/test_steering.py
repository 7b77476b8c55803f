"""`penstock runner`, `pool`, `quota`, `limit`: what operators say, and what dispatchers read of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import exit_codes
from penstock.core.ids import uuid4, uuid7
from penstock.store import policies, workers
from penstock.store.database import Database
from penstock.store.tenants import create_tenant
from penstock.testing.clock import ManualClock
from penstock.testing.graphs import World


def penstock(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


def told(*words: str) -> Any:
    """What a command that works prints as JSON."""
    result = penstock(*words, "--json")
    assert result.exit_code == exit_codes.OK, result.output
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def dsn(db: Database, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PENSTOCK_POSTGRES_DSN", postgres_dsn)
    create_tenant(db, "acme")
    yield
    for table in ("quotas", "limits", "pools", "runner_orders"):
        db.rows(f"DELETE FROM {table}")  # type: ignore[arg-type]


@pytest.fixture
def box(db: Database) -> str:
    """A runner of its own name and pool."""
    name = f"box-{uuid4()[:8]}"
    beat(db, name, uuid7(time.time()))
    return name


def beat(db: Database, name: str, session: str, **more: Any) -> None:
    row = {
        "session_id": session, "n": 1, "kind": "runner", "name": name, "pool": name, "state": "IDLE",
        "slots": 8, "capacity": {}, "labels": ["big", "linux"], "attempts": 2, **more,
    }  # fmt: skip
    workers.renew(db, [row], [], ttl_seconds=60)


def woken(db: Database) -> int:
    """How often dispatchers are woken by what lies in the outbox, from which it is taken."""
    return len(db.rows("DELETE FROM outbox WHERE events::text LIKE %s RETURNING 1", ('%"policy"%',)))


def of(name: str, rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    (found,) = [one for one in rows if one[key] == name]
    return found


def test_runners_are_listed_with_who_holds_them_back(db: Database, box: str) -> None:
    beat(db, f"{box}-gone", uuid7(time.time()), state="OFFLINE")
    found = of(box, told("runner", "ls")["runners"], "name")
    assert (found["state"], found["slots"], found["attempts"], found["order"]) == ("IDLE", 8, 2, None)
    names = [one["name"] for one in told("runner", "ls")["runners"]]
    assert f"{box}-gone" not in names
    assert f"{box}-gone" in [one["name"] for one in told("runner", "ls", "--all")["runners"]]
    told("runner", "quarantine", box, "--by", "ann")
    (line,) = [line for line in penstock("runner", "ls").stdout.splitlines() if line.split()[:1] == [box]]
    assert "QUARANTINED by ann" in line
    assert line.endswith("big, linux")


def test_a_runner_is_held_back_and_goes_on(db: Database, box: str) -> None:
    woken(db)
    assert told("runner", "drain", box) == {"runner": box, "state": "DRAINING", "jobs": 0}
    assert told("runner", "quarantine", box, "--by", "ann")["state"] == "QUARANTINED"
    (order,) = policies.policies(db)["orders"]
    assert (order["name"], order["state"], order["by"]) == (box, "QUARANTINED", "ann")
    assert penstock("runner", "resume", box).stdout == f"{box} gets jobs again\n"
    assert woken(db) == 3
    assert penstock("runner", "resume", box).stdout == f"nobody held {box} back\n"
    assert (woken(db), policies.policies(db)["orders"]) == (0, [])


def test_a_runner_that_nobody_knows_gets_a_suggestion(box: str) -> None:
    for command in ("drain", "quarantine", "resume"):
        result = penstock("runner", command, f"{box}x")
        assert result.exit_code == exit_codes.USAGE
        assert f"did you mean {box!r}?" in result.stderr


def test_a_drain_waits_until_nothing_runs(db: Database, box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(db, [{}, {}])
    beat(db, box, world.session)
    world.claim(0, 1)
    looks = iter((lambda: None, lambda: world.finish(0), lambda: None, lambda: world.finish(1)))

    class Clock(ManualClock):
        def sleep(self, *given: Any) -> bool:
            next(looks, lambda: None)()
            return super().sleep(*given)

    monkeypatch.setattr("penstock.cli.runner.SystemClock", Clock)
    assert penstock("runner", "drain", box).stdout == f"{box} gets no more jobs; it runs 2 jobs\n"
    result = penstock("runner", "drain", box, "--wait")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, f"{box} runs nothing\n")
    assert result.stderr.splitlines() == [f"{box} runs {count}" for count in ("2 jobs", "1 job", "0 jobs")]


def test_a_drain_gives_up_after_a_while(db: Database, box: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.cli.runner.SystemClock", ManualClock)
    world = World(db, [{}])
    beat(db, box, world.session)
    world.claim(0)
    result = penstock("runner", "drain", box, "--wait", "--seconds", "5")
    assert (result.exit_code, result.stdout) == (exit_codes.PIPELINE_FAILED, "")
    assert f"{box} still runs 1 job; it gets no more" in result.stderr
    world.finish(0)


def test_pools(db: Database, box: str) -> None:
    World(db, [{"pool": box}, {"pool": box}])
    beat(db, f"{box}-2", uuid7(time.time()), pool=box, attempts=20)
    beat(db, f"{box}-3", uuid7(time.time()), pool=box, state="OFFLINE")
    found = of(box, told("pool", "ls")["pools"], "pool")
    assert (found["runners"], found["slots"], found["taken"], found["queued"]) == (2, 16, 10, 2)
    assert (found["paused_at"], found["overtaking"]) == (None, 0)
    woken(db)
    told("pool", "pause", box, "--by", "ann")
    told("pool", "overtaking", box, "3")
    told("runner", "drain", f"{box}-2")
    found = of(box, told("pool", "ls")["pools"], "pool")
    assert (found["runners"], found["paused_by"], found["overtaking"]) == (1, "ann", 3)
    (line,) = [line for line in penstock("pool", "ls").stdout.splitlines() if line.split()[:1] == [box]]
    assert "paused by ann" in line
    assert penstock("pool", "resume", box).stdout == f"pool {box} goes on\n"
    assert woken(db) == 4
    assert penstock("pool", "resume", box).stdout == f"pool {box} was not paused\n"


def test_a_pool_that_nobody_is_in_may_be_paused_but_is_told_of(db: Database) -> None:
    result = penstock("pool", "pause", "nowhere")
    assert result.exit_code == exit_codes.OK
    assert "no runner and no job is in a pool 'nowhere' now" in result.stderr
    assert of("nowhere", policies.policies(db)["pools"], "pool")["paused_at"]


def test_quotas_are_set_piece_by_piece(db: Database) -> None:
    woken(db)
    told("quota", "set", "acme", "gpu", "--weight", "2.5", "--running", "20")
    row = told("quota", "set", "acme", "gpu", "--minimum", "4")["quota"]
    assert row == {
        "tenant": "acme",
        "pool": "gpu",
        "weight": 2.5,
        "minimum": 4,
        "running": 20,
        "queued": None,
    }
    assert policies.policies(db)["quotas"] == [row]
    assert told("quota", "set", "acme", "gpu", "--running", "none")["quota"]["running"] is None
    told("quota", "set", "*", "--queued", "500")
    assert [one["tenant"] for one in told("quota", "ls")["quotas"]] == ["*", "acme"]
    listed = penstock("quota", "ls", "--tenant", "acme").stdout.splitlines()
    assert [line.split() for line in listed[1:]] == [["acme", "gpu", "2.5", "4", "none", "none"]]
    assert penstock("quota", "rm", "acme", "gpu").stdout == "forgotten\n"
    assert woken(db) == 5
    assert penstock("quota", "rm", "acme", "gpu").stdout == "there was no quota of acme in pool gpu\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("acme",), "say what to set"),
        (("nobody", "--weight", "2"), "`penstock tenant create nobody`"),
        (("acme", "--weight", "0"), "0<x<=1000000"),
        (("acme", "--running", "-1"), "neither a number nor `none`"),
        (("acme", "gpu", "--queued", "3"), "leave the pool out"),
        (("acme", "--minimum", "3"), "name the tenant, and the pool"),
    ],
)
def test_quotas_that_make_no_sense(db: Database, words: tuple[str, ...], what: str) -> None:
    result = penstock("quota", "set", *words)
    assert result.exit_code == exit_codes.USAGE
    assert what in result.stderr
    assert policies.policies(db)["quotas"] == []


def test_limits(db: Database) -> None:
    woken(db)
    told("limit", "set", "tenant", "acme", "--per-second", "5", "--burst", "10")
    told("limit", "set", "pool", "gpu", "--per-second", "0.1")
    told("limit", "set", "lock", "registry", "--per-second", "2", "--tenant", "acme")
    assert told("limit", "close", "hub", "30", "--tenant", "acme")["closed_seconds"] == 30
    found = [(one["tenant"], one["kind"], one["name"], one["per_second"], one["burst"])
             for one in told("limit", "ls")["limits"]]  # fmt: skip
    assert found == [
        ("*", "pool", "gpu", 0.1, 1), ("acme", "lock", "hub", None, 1),
        ("acme", "lock", "registry", 2, 1), ("acme", "tenant", "acme", 5, 10),
    ]  # fmt: skip
    (line,) = [line for line in penstock("limit", "ls").stdout.splitlines() if "hub" in line]
    assert "opens in" in line
    for words in (("tenant", "acme"), ("pool", "gpu"), ("lock", "hub", "--tenant", "acme")):
        assert penstock("limit", "rm", *words).stdout == "forgotten\n"
    assert woken(db) == 7
    assert penstock("limit", "rm", "pool", "gpu").stdout == "there was no limit of pool gpu\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("set", "lock", "registry", "--per-second", "1"), "say whose: --tenant NAME"),
        (("set", "pool", "gpu", "--per-second", "1", "--tenant", "acme"), "leave it out"),
        (("set", "tenant", "nobody", "--per-second", "1"), "`penstock tenant create nobody`"),
        (("set", "tenant", "acme", "--per-second", "0"), "0<x<=1000000"),
        (("set", "tenant", "acme"), "--per-second"),
        (("close", "hub", "86401", "--tenant", "acme"), "0<=x<=86400"),
        (("close", "hub", "30"), "say whose: --tenant NAME"),
    ],
)
def test_limits_that_make_no_sense(db: Database, words: tuple[str, ...], what: str) -> None:
    result = penstock("limit", *words)
    assert result.exit_code == exit_codes.USAGE
    assert what in result.stderr
    assert policies.policies(db)["limits"] == []
