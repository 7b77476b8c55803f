"""Which job goes where: lanes and age, tenants, fit, room."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.services.dispatcher.field import Field, job

from penstock.core.lanes import LANES, Lane
from penstock.events.workers import Ended, Offer
from penstock_services.dispatcher.decide import Policy
from penstock_services.dispatcher.policies import Order, PausedPool, Quota, Said

GIB = 1024**3


@pytest.fixture
def field() -> Field:
    return Field()


def test_lanes_come_strictly_first_then_age(field: Field) -> None:
    field.runner(slots=4)
    field.ready.add(
        [job("n", at=1), job("h", "high", at=3), job("c2", "critical", at=9), job("c1", "critical", at=2)]
    )
    assert field.chosen() == ["c1", "c2", "h", "n"]


def test_slots_bound_what_is_granted(field: Field) -> None:
    field.runner()
    field.ready.add(job(str(n), at=n) for n in range(5))
    assert field.chosen() == ["0", "1"]


def test_a_decision_changes_nothing(field: Field) -> None:
    field.runner()
    field.ready.add(job(str(n), at=n, locks="X" if n % 2 else "") for n in range(5))
    assert field.chosen() == field.chosen()


@pytest.mark.parametrize("limit", [1, 3])
def test_a_decision_is_bounded(field: Field, limit: int) -> None:
    field.policy = Policy(limit=limit)
    field.runner(slots=8)
    field.runner("t", slots=8, pool="other")
    field.ready.add(job(str(n), at=n, pool=("default", "other")[n % 2]) for n in range(18))
    assert len(field.chosen()) == limit


def test_labels_and_executors_must_fit_and_do_not_hold_others_up(field: Field) -> None:
    field.ready.add([job("gpu", at=0, labels=("gpu",)), job("plain", at=1)])
    assert field.chosen() == []
    field.runner()
    assert field.chosen() == ["plain"]
    field.runner("g", labels=["gpu", "x64"])
    assert field.chosen() == ["gpu", "plain"]


def test_architecture_and_size_must_fit(field: Field) -> None:
    field.runner("small", cpu=4, memory=8 * GIB, arch="x86_64")
    field.ready.add(
        [job("big", memory=16 * GIB), job("arm", arch="aarch64"), job("ok", at=1, cpu=4, memory=GIB)]
    )
    assert field.give() == ["ok"]
    field.ready.add([job("more", cpu=0.5), job("plain")])
    assert field.chosen() == ["plain"], "its cores are taken, a slot is not"
    field.runner("large", cpu=16, memory=64 * GIB, arch="arm64", slots=1)
    assert [(one.job.job_id, one.runner.name) for one in field.decide().choices] == [
        ("arm", "large"), ("plain", "small"),
    ]  # fmt: skip


def test_work_is_spread_to_the_runner_with_most_room(field: Field) -> None:
    field.runner("a")
    field.runner("b")
    field.ready.add(job(str(n), at=n) for n in range(4))
    assert sorted(choice.runner.name for choice in field.decide().choices) == ["a", "a", "b", "b"]


def test_runners_out_of_service_and_those_that_only_supervise_get_nothing(field: Field) -> None:
    field.runner("a")
    field.runner("b", slots=0)
    field.ready.add([job("j")])
    assert field.chosen() == ["j"]
    for state in ("DRAINING", "QUARANTINED"):
        field.say(Said(orders=[Order("a", state)]))  # type: ignore[arg-type]
        assert field.chosen() == []


def test_a_paused_pool_gives_nothing_out(field: Field) -> None:
    field.runner()
    field.runner("o", pool="other")
    field.ready.add([job("a"), job("b", pool="other")])
    field.say(Said(pools=[PausedPool("default", paused_at="now")]))
    assert field.chosen() == ["b"]


def test_short_jobs_are_granted_ahead_and_what_holds_or_weighs_is_not(field: Field) -> None:
    field.policy = Policy(limit=10_000, lookahead_jobs=100)
    field.runner(cpu=64, memory=64 * GIB)
    field.fleet.durations["default", "default", "noop"] = 0.001
    field.ready.add(job(f"r{n}", at=n) for n in range(2000))
    assert len(field.chosen()) == 102
    field.ready.forget(field.ready.jobs())
    field.ready.add(job(f"l{n}", at=n, holds=job("x", locks="a").holds) for n in range(20))
    assert len(field.chosen()) == 2
    field.ready.add(job(f"c{n}", at=n, cpu=1) for n in range(20))
    assert len(field.chosen()) == 2
    field.fleet.durations["default", "default", "noop"] = 60.0
    field.ready.forget(field.ready.jobs())
    field.ready.add(job(f"s{n}", at=n) for n in range(20))
    assert len(field.chosen()) == 2


def test_an_offer_frees_its_slot_at_once(field: Field) -> None:
    field.runner(slots=1)
    field.ready.add([job("a"), job("b", at=1)])
    assert field.give() == ["a"]
    assert field.give() == []
    gone = Offer(session_id="s", n=1, pool="default", slots=1, executors=["noop"], ended=[Ended("a", 1, 5)])
    field.fleet.offer(gone, 0.0)
    assert field.give() == ["b"]


def test_jobs_with_locks_are_granted_in_turn(field: Field) -> None:
    field.runner(slots=8)
    field.ready.add(
        [job("a", at=1, locks="XY"), job("b", at=2, locks="Y"), job("c", at=3, locks="Z"), job("d", at=4)]
    )
    assert field.give() == ["a", "c", "d"]
    assert field.give() == []
    field.end("a")
    assert field.give() == ["b"]


def test_a_job_that_fits_nowhere_does_not_keep_its_locks_from_others(field: Field) -> None:
    field.runner(slots=8)
    field.ready.add([job("gpu", "critical", at=1, locks="X", labels=("gpu",)), job("b", at=2, locks="X")])
    assert field.give() == ["b"]


def test_tenants_share_by_slot_time_and_weight(field: Field) -> None:
    """Each has 100 jobs of 10 s; of four slots, whoever weighs three times as much has three."""
    field.say(Said(quotas=[Quota("big", "default", weight=3.0)]))
    field.runner(slots=4)
    field.fleet.durations = {(tenant, "default", "noop"): 10.0 for tenant in ("big", "small")}
    field.ready.add(
        job(f"{tenant}{n}", at=n, tenant=tenant) for tenant in ("big", "small") for n in range(100)
    )
    served: list[str] = []
    for now in range(0, 400, 10):
        running = field.give(now=float(now))
        field.end(*running, now=float(now + 10))
        field.runner(slots=4, now=float(now + 10))
        served += running
    share = sum(name.startswith("big") for name in served[:100]) / 100
    assert 0.7 <= share <= 0.8


def test_long_jobs_of_one_do_not_take_all_that_another_has_for_their_length(field: Field) -> None:
    """`a` had all 20 slots for ten minutes, with jobs of a minute; then `b` comes with jobs of an hour."""
    lives = {"a": 60, "b": 3600}
    number, ends, least = itertools.count(), dict[str, float](), 20
    for now in range(0, 3600, 2):
        ended = [name for name, at in ends.items() if at <= now]
        field.end(*ended, now=float(now))
        field.runner(slots=20, now=float(now))
        waiting = {one.tenant for one in field.ready.jobs()}
        for tenant in lives if now >= 600 else "a":
            count = 40 if tenant not in waiting else sum(name[0] == tenant for name in ended)
            field.ready.add(job(f"{tenant}{next(number):06d}", at=now, tenant=tenant) for _ in range(count))
        granted = field.give(now=float(now), wall=float(now))
        ends = {name: at for name, at in ends.items() if name not in ended}
        # They do not end all at once.
        ends |= {name: now + lives[name[0]] * (0.5 + int(name[1:]) % 10 / 10) for name in granted}
        if now >= 600:
            least = min(least, sum(name[0] == "a" for name in ends))
    assert 6 <= least <= 10
    assert 8 <= sum(name[0] == "a" for name in ends) <= 12


def test_a_flood_of_one_does_not_keep_another_waiting(field: Field) -> None:
    field.runner(slots=4)
    field.ready.add(job(f"a{n:05d}", at=n, tenant="flood") for n in range(20_000))
    running = field.give(now=0.0)
    for now in range(1, 50):
        field.ready.add([job(f"b{now}", at=100_000 + now, tenant="other")])
        field.end(running[0], now=float(now))
        field.runner(slots=4, now=float(now))
        (granted,) = field.give(now=float(now))
        assert granted == f"b{now}", "it has less than its share"
        field.end(running[1], granted, now=now + 0.5)
        running = running[2:] + field.give(now=now + 0.5)


def test_guaranteed_slots_come_before_all_lanes_of_others(field: Field) -> None:
    field.say(Said(quotas=[Quota("paying", "default", minimum=2)]))
    field.runner(slots=3)
    field.ready.add(job(f"c{n}", "critical", at=n) for n in range(5))
    field.ready.add(job(f"p{n}", at=n, tenant="paying") for n in range(5))
    assert field.give() == ["p0", "p1", "c0"]


def test_guaranteed_slots_starve_no_old_job_and_go_to_who_lacks_most_of_them(field: Field) -> None:
    field.policy = Policy(age_seconds=100.0, age_every=4)
    field.say(Said(quotas=[Quota("a", "default", minimum=20), Quota("b", "default", minimum=40)]))
    field.runner(slots=12)
    field.ready.add(job(f"{tenant}{n}", at=150, tenant=tenant) for tenant in "ab" for n in range(50))
    field.ready.add(job(f"o{n}", at=0, tenant="old") for n in range(50))
    assert [name[0] for name in field.give(wall=160.0)] == list("bbbobbbobbbo")


def test_a_tenant_at_its_most_gets_no_more(field: Field) -> None:
    field.say(Said(quotas=[Quota("default", "default", running=2)]))
    field.runner(slots=8)
    field.ready.add(job(str(n), at=n) for n in range(5))
    assert field.give() == ["0", "1"]
    field.end("0")
    assert field.give() == ["2"]


def test_a_dedicated_pool_is_for_those_who_have_a_row_of_it(field: Field) -> None:
    field.say(Said(quotas=[Quota("*", "default", running=0), Quota("mine", "default", running=5)]))
    field.runner()
    field.ready.add([job("a"), job("b", tenant="mine")])
    assert field.chosen() == ["b"]


def test_immediate_jobs_come_first_in_their_own_lane(field: Field) -> None:
    field.runner(slots=3)
    field.ready.add(
        [job("c", "critical", at=3), job("n", at=0), job("i", at=2, immediate=True), job("h", "high", at=1)]
    )
    assert field.chosen() == ["c", "h", "i"]


def test_a_flood_of_immediate_jobs_keeps_no_older_job_of_its_lane_for_ever(field: Field) -> None:
    field.policy = Policy(age_seconds=100.0, age_every=4)
    field.runner(slots=100)
    field.ready.add(job(f"n{n}", at=0) for n in range(4))
    field.ready.add(job(f"i{n:02d}", at=150, immediate=True) for n in range(40))
    assert [name[0] for name in field.give(wall=160.0)[:12]] == list("iiiniiiniiin")


def test_old_jobs_of_lower_lanes_get_their_part_and_a_hotfix_waits_for_one_grant_at_most(
    field: Field,
) -> None:
    field.policy = Policy(age_seconds=100.0, age_every=4)
    field.runner(slots=100)
    field.ready.add(job(f"n{n}", at=0) for n in range(50))
    field.ready.add(job(f"c{n:02d}", "critical", at=150) for n in range(40))
    order = field.give(wall=160.0)
    assert [name[0] for name in order[:12]] == list("cccncccncccn")
    assert field.give(wall=160.0) == []


WAITING = st.lists(
    st.tuples(
        st.sampled_from(LANES), st.integers(0, 50), st.sampled_from([(), ("gpu",)]), st.sampled_from("abc"),
        st.sampled_from(["", "", "X", "xY", "y"]), st.sampled_from([0, 0, 1, 3]),
    ),
    max_size=60,
)  # fmt: skip
RUNNERS = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 6)), max_size=6)
QUOTAS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "*"]), st.integers(0, 4), st.integers(0, 9)), max_size=2
)


@settings(deadline=None)
@given(WAITING, RUNNERS, QUOTAS)
def test_no_decision_overcommits_or_passes_over_a_job_that_fits(
    waiting: list[tuple[Lane, int, tuple[str, ...], str, str, int]],
    runners: list[tuple[int, bool, int]],
    quotas: list[tuple[str, int, int]],
) -> None:
    field = Field()
    field.say(
        Said(quotas=[Quota(tenant, "default", minimum=low, running=most) for tenant, low, most in quotas])
    )
    jobs = {
        f"{n:03d}": job(f"{n:03d}", lane, at, labels=labels, tenant=tenant, locks=locks, cpu=cpu)
        for n, (lane, at, labels, tenant, locks, cpu) in enumerate(waiting)
    }
    field.ready.add(jobs.values())
    for n, (slots, gpu, cpu) in enumerate(runners):
        field.runner(f"r{n}", slots, labels=["gpu"] if gpu else [], cpu=cpu)
    choices = field.decide().choices
    assert len({choice.job.job_id for choice in choices}) == len(choices)
    taken: dict[str, list[float]] = {f"r{n}": [] for n in range(len(runners))}
    per_tenant: dict[str, int] = {}
    held: dict[tuple[str, str], list[int | None]] = {}
    for choice in choices:
        taken[choice.runner.name].append(choice.shape.cpu)
        assert choice.runner.labels.issuperset(choice.job.labels)
        per_tenant[choice.job.tenant] = per_tenant.get(choice.job.tenant, 0) + 1
        for hold in choice.job.holds:
            held.setdefault((choice.job.tenant, hold.name), []).append(hold.most)
    for n, (slots, _, cpu) in enumerate(runners):
        assert len(taken[f"r{n}"]) <= slots
        assert sum(taken[f"r{n}"]) <= cpu
    for tenant, count in per_tenant.items():
        most = field.policies.share(tenant, "default").most
        assert most is None or count <= most
    assert all(len(modes) == 1 or 1 not in modes for modes in held.values())
    chosen = {choice.job.job_id for choice in choices}
    for left in (one for one in jobs.values() if one.job_id not in chosen and not one.holds):
        most = field.policies.share(left.tenant, "default").most
        at_most = most is not None and per_tenant.get(left.tenant, 0) >= most
        cpu = left.resources.cpu if left.resources else 0
        assert at_most or not any(
            len(taken[f"r{n}"]) < slots and sum(taken[f"r{n}"]) + cpu <= cores and (gpu or not left.labels)
            for n, (slots, gpu, cores) in enumerate(runners)
        ), "it would have had room"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["high", "normal"])),
        min_size=1,
        max_size=30,
    ),
    st.integers(2, 9),
    st.integers(1, 12),
)
def test_the_wait_of_old_jobs_is_bounded_whatever_comes_in_above(
    old: list[tuple[str, Lane]], every: int, slots: int
) -> None:
    """The bound that decide states, in grants of the pool."""
    field = Field()
    field.policy = Policy(age_seconds=10.0, age_every=every)
    field.ready.add(
        job(f"old{n:02d}", lane, at=n / 100, tenant=tenant) for n, (tenant, lane) in enumerate(old)
    )  # type: ignore[arg-type]
    tenants = {tenant for tenant, _ in old}
    bounds = {
        f"old{n:02d}": every * len(tenants) * (sum(other == tenant for other, _ in old[:n]) + 1)
        for n, (tenant, _) in enumerate(old)
    }
    granted: list[str] = []
    flood = itertools.count()
    running: list[str] = []
    now = 100.0
    while bounds.keys() - set(granted):
        field.ready.add(job(f"f{next(flood)}", "critical", at=now, tenant="flood") for _ in range(slots))
        field.runner(slots=slots, now=now)
        running = field.give(now=now, wall=now)
        granted += running
        field.end(*running, now=now)
        now += 0.01
        assert len(granted) <= every * len(tenants) * (len(old) + 1) + slots
    for name, bound in bounds.items():
        assert granted.index(name) < bound
