"""Which runner has room, and which is emptied for a large job."""

from __future__ import annotations

import itertools

import pytest
from tests.unit.services.dispatcher.field import Field, job

from penstock_services.dispatcher.decide import Policy
from penstock_services.dispatcher.policies import Order, Said
from penstock_services.dispatcher.ready import shape_of

GIB = 1024**3


@pytest.fixture
def field() -> Field:
    return Field()


def test_large_jobs_are_not_starved_by_small_ones(field: Field) -> None:
    field.policy = Policy(reserve_seconds=30.0)
    field.runner("a", slots=4, cpu=4, memory=GIB)
    field.runner("b", slots=4, cpu=4, memory=GIB)
    field.ready.add(job(f"s{n:03d}", cpu=1) for n in range(200))
    running = field.give()
    assert len(running) == 8
    field.ready.add([job("big", at=1, cpu=4)])
    now = 0
    for now in range(1, 60):
        field.end(running.pop(0), now=float(now))
        field.runner("a", slots=4, cpu=4, memory=GIB, now=float(now))
        field.runner("b", slots=4, cpu=4, memory=GIB, now=float(now))
        running += field.give(now=float(now), wall=float(now))
        if "big" in running:
            break
    assert 31 < now < 45, "one runner was emptied for it from the 31st second on"


@pytest.mark.parametrize("runners", [1, 4])
@pytest.mark.parametrize("life", [30, 120])
def test_a_large_job_gets_its_runner_in_a_pool_that_is_always_full(
    field: Field, runners: int, life: int
) -> None:
    """Small jobs of 30 to 130 s wait at all times; nobody else is let into the runner that is emptied."""
    number, ends = itertools.count(), dict[str, float]()
    field.ready.add(job(f"s{next(number):05d}", cpu=1) for _ in range(4 * runners))
    now = 0
    for now in range(600):
        field.end(*(ended := [name for name, at in ends.items() if at <= now]), now=float(now))
        for name in ended:
            del ends[name]
        for n in range(runners):
            field.runner(f"r{n}", slots=4, cpu=4, memory=8 * GIB, now=float(now))
        if now == 5:
            field.ready.add([job("big", at=5, cpu=4)])
        field.ready.add(job(f"s{next(number):05d}", at=now, cpu=1) for _ in ended)
        granted = field.give(now=float(now), wall=float(now))
        ends |= {name: now + life + int(name[1:]) % 10 for name in granted if name != "big"}
        if "big" in granted:
            break
    assert 65 <= now <= 65 + 2 * life + 20


def test_a_runner_is_emptied_for_one_more_job_only_while_so_many_can_be_used(field: Field) -> None:
    field.policy = Policy(reserve_seconds=1.0)
    for n in range(4):
        field.runner(f"r{n}", slots=2, cpu=2)
    for n in range(40):
        field.runner(f"z{n}", slots=0, cpu=2)
        field.runner(f"d{n}", slots=2, cpu=2)
    field.say(Said(orders=[Order(f"d{n}", "DRAINING") for n in range(40)]))
    field.ready.add(job(f"s{n:02d}", cpu=1) for n in range(20))
    field.give()
    field.ready.add(job(f"b{n}", at=1, cpu=2) for n in range(3))
    assert len(field.decide(now=2.0, wall=10.0).kept) == 1


def test_what_finds_no_room_is_not_looked_for_again_at_each_runner(field: Field) -> None:
    """Slots are free, memory is not: what a decision looks at does not grow with the runners."""
    for n in range(500):
        field.runner(f"r{n}", slots=4, cpu=8, memory=8 * GIB)
    field.ready.add(job(f"m{n:03d}", memory=8 * GIB) for n in range(500))
    field.policy = Policy(limit=500)
    assert len(field.give()) == 500
    field.ready.add(job(f"w{n:03d}", at=1, memory=GIB + n) for n in range(50))
    room = field.fleet.pool("default").fit(shape_of(job("x")))
    assert list(room.emptiest_first(0, GIB)) == []
    assert field.chosen() == []
    field.runner("new", slots=4, cpu=8, memory=3 * GIB)
    assert len(field.chosen()) == 2
    field.end("m007")
    assert len(field.chosen()) == 6


def test_a_runner_that_comes_goes_or_changes_is_known_to_all_who_would_use_it(field: Field) -> None:
    """What is kept of the others stays as it is."""
    field.ready.add([job("gpu", labels=("gpu",)), job("plain", at=1)])
    field.runner("a", slots=1)
    assert field.chosen() == ["plain"]
    fit = field.fleet.pool("default").fit(shape_of(job("x", labels=("gpu",))))
    field.runner("b", slots=1, labels=["gpu"])
    assert field.chosen() == ["gpu", "plain"]
    field.runner("b", slots=1)
    assert field.chosen() == ["plain"]
    field.runner("a", slots=1, labels=["gpu"])
    assert field.chosen() == ["gpu", "plain"]
    field.runner("a", slots=1, labels=["gpu"], pool="other")
    assert field.chosen() == ["plain"]
    assert field.fleet.pool("default").fit(shape_of(job("x", labels=("gpu",)))) is fit
    assert not fit.members
    assert not fit.ranks


def test_one_that_no_runner_can_ever_take_has_none_emptied_for_it(field: Field) -> None:
    field.policy = Policy(reserve_seconds=1.0)
    field.runner(slots=2, cpu=4, memory=GIB)
    field.ready.add([job("huge", cpu=64), job("s", at=1)])
    assert field.give(wall=100.0) == ["s"]
    assert field.decide(wall=100.0).kept == []
