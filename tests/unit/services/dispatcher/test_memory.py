"""What a dispatcher knows, and what it makes of what it is told."""

from __future__ import annotations

import pytest
from tests.unit.services.dispatcher.field import BEATS, job

from penstock.events.jobs import Freed, Hold
from penstock.events.workers import Capacity, Heartbeat
from penstock_services.dispatcher.decide import Policy, decide
from penstock_services.dispatcher.memory import Memory
from penstock_services.dispatcher.policies import Limit, Order, Quota, Said


def hear(memory: Memory, name: str, n: int = 1, *, pool: str = "default", now: float = 0.0) -> None:
    beat = Heartbeat(
        session_id=name, n=n, name=name, pool=pool, slots=4, executors=["noop"], capacity=Capacity()
    )
    memory.fleet.heartbeat(beat, now)


def chosen(memory: Memory, now: float = 0.0) -> list[str]:
    choices = decide(memory.scene(now, now), memory.ready.pools()).choices
    return [choice.job.job_id for choice in choices]


def test_a_limit_that_is_lifted_is_heeded_at_once() -> None:
    memory = Memory(Policy(), BEATS)
    hear(memory, "r")
    memory.ready.add([job("a", locks="A"), job("b", tenant="b"), job("c", tenant="c")])
    assert sorted(chosen(memory)) == ["a", "b", "c"]
    limits = [Limit("default", "lock", "a", 86_400.0), Limit("b", "tenant", "b", 900.0)]
    memory.said(Said(limits=limits), 0.0)
    assert chosen(memory) == ["c"]
    memory.said(Said(limits=limits[:1]), 1.0)
    assert sorted(chosen(memory, 1.0)) == ["b", "c"]
    memory.said(Said(), 2.0)
    assert sorted(chosen(memory, 2.0)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "said",
    [
        Said(orders=[Order("g", "QUARANTINED")]),
        Said(quotas=[Quota("*", "gpu", running=0)]),
        Said(limits=[Limit("*", "pool", "gpu", 900.0)]),
    ],
    ids=["runner out of service", "dedicated pool", "closed limit"],
)
def test_what_could_not_be_granted_keeps_nobody_back_at_its_locks(said: Said) -> None:
    memory = Memory(Policy(), BEATS)
    hear(memory, "g", pool="gpu")
    hear(memory, "r")
    memory.ready.add([job("a", at=1, pool="gpu", locks="A"), job("b", at=2, locks="A")])
    assert chosen(memory) == ["a"]
    memory.said(said, 0.0)
    assert chosen(memory) == ["b"]
    memory.said(Said(), 1.0)
    assert chosen(memory, 1.0) == ["a"], "it has its turn again"


def test_what_only_silent_runners_fit_keeps_nobody_back_at_its_locks() -> None:
    memory = Memory(Policy(), BEATS)
    hear(memory, "g", pool="gpu")
    hear(memory, "r")
    memory.ready.add([job("a", at=1, pool="gpu", locks="A"), job("b", at=2, locks="A")])
    assert chosen(memory) == ["a"]
    hear(memory, "r", 2, now=9.0)
    memory.said(Said(), 9.0)
    assert chosen(memory, 9.0) == ["b"]
    hear(memory, "g", 2, pool="gpu", now=10.0)
    memory.said(Said(), 10.0)
    assert chosen(memory, 10.0) == ["a"]


def test_an_old_job_gets_its_turn_at_a_lock_while_others_come_in_above_it() -> None:
    memory = Memory(Policy(age_seconds=10.0, age_every=3), BEATS)
    memory.ready.add([job("old", at=0, locks="A")])
    order: list[str] = []
    for n in range(30):
        hear(memory, "r", n + 1, now=float(n))
        memory.ready.add([job(f"h{n}", "high", at=n, locks="A")])
        scene = memory.scene(float(n), float(n))
        choices = decide(scene, memory.ready.pools()).choices
        memory.claimed(choices, {choice.job.job_id: 1 for choice in choices}, float(n))
        for choice in choices:
            order.append(choice.job.job_id)
            choice.runner.drop((choice.job.job_id, 1), float(n))
            memory.freed([Freed("default", "lock", "a", choice.job.job_id)])
    assert 10 <= order.index("old") <= 14


def test_a_refusal_that_names_no_holder_makes_none_up() -> None:
    memory = Memory(Policy(), BEATS)
    hear(memory, "r")
    memory.ready.add([job("a", holds=(Hold("group", "deploy", 1),))])
    assert chosen(memory) == ["a"]
    wait = {"job_id": "a", "kind": "group", "name": "deploy", "most": 1, "holder": None, "since": None}
    assert memory.refused([wait], 0.0) == [("default", "group", "deploy")], "they are read"
    assert chosen(memory) == ["a"]


def test_pools_without_jobs_and_limits_that_are_gone_are_forgotten() -> None:
    memory = Memory(Policy(), BEATS)
    for n in range(100):
        memory.turns.granted([(f"pool-{n}", "t", True)])
        memory.turns.none_aged([f"pool-{n}"], 0.0)
        memory.said(Said(limits=[Limit("*", "pool", f"pool-{n}", 9.0)]), 0.0)
    memory.said(Said(), 1.0)
    turns = memory.turns
    assert [turns._closed, turns._served, turns._none_aged, turns._since_aged] == [{}] * 4
