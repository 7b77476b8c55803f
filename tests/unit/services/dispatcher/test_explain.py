"""Why a job waits: the first reason that holds, in words and facts."""

from __future__ import annotations

from tests.unit.services.dispatcher.field import Field, job

from penstock.core.waiting import WAITING, Why
from penstock.events.jobs import Hold
from penstock_services.dispatcher.decide import Policy
from penstock_services.dispatcher.explain import Explainer
from penstock_services.dispatcher.policies import Order, PausedPool, Quota, Said
from penstock_services.dispatcher.telling import NEW_SECONDS, Telling, news
from penstock_services.dispatcher.turns import pool_limit, tenant_limit

GIB = 1024**3


def why(field: Field, name: str, now: float = 0.0, wall: float = 0.0) -> Why | None:
    scene = field.scene(now, wall)
    found = field.ready.get(name)
    assert found is not None
    return Explainer(scene).why(found)


def told(field: Field, name: str, now: float = 0.0) -> tuple[str, str]:
    found = why(field, name, now)
    assert found is not None
    assert found.reason in WAITING
    return found.reason, found.text


def test_nothing_but_those_before_it_is_no_reason() -> None:
    field = Field()
    field.runner()
    field.ready.add([job("a")])
    assert why(field, "a") is None


def test_a_pool_that_is_paused_or_empty() -> None:
    field = Field()
    field.ready.add([job("a")])
    assert told(field, "a") == ("no-runners", "pool default has no runner that takes jobs")
    field.runner(slots=0)
    assert told(field, "a")[0] == "no-runners", "one that only supervises takes none"
    field.say(Said(pools=[PausedPool("default", "2026-01-01T00:00:00Z", "ann")]))
    assert told(field, "a") == ("pool-paused", "pool default is paused by ann since 2026-01-01T00:00:00Z")


def test_a_pool_whose_runners_are_all_ordered_out_or_silent() -> None:
    field = Field()
    field.runner("a")
    field.runner("b", now=10.0)
    field.ready.add([job("x"), job("y", labels=("gpu",))])
    field.say(Said(orders=[Order("b", "DRAINING")]))
    assert why(field, "x", now=5.0) is None
    text = "pool default has no runner that takes jobs: of 2 are 1 out of service by order, "
    assert told(field, "x", now=11.0) == ("no-runners", f"{text}the others silent or draining")
    field.runner("c", labels=["gpu"], now=11.0)
    field.say(Said(orders=[Order("c", "QUARANTINED")]))
    assert told(field, "y", now=12.0) == ("no-fit", "no runner of pool default has label gpu")


def test_what_no_runner_has() -> None:
    field = Field()
    field.runner("a", labels=["linux"], cpu=4, memory=8 * GIB, arch="x86_64")
    field.runner("b", labels=["gpu"], cpu=8, memory=4 * GIB, arch="x86_64")
    field.ready.add(
        [
            job("label", labels=("tpu", "gpu")), job("both", labels=("gpu", "linux")),
            job("arch", arch="aarch64"), job("size", cpu=2, memory=32 * GIB),
        ]
    )  # fmt: skip
    assert told(field, "label") == ("no-fit", "no runner of pool default has label tpu")
    assert told(field, "both") == ("no-fit", "no runner of pool default has all of noop, gpu, linux together")
    assert told(field, "arch") == ("no-fit", "no runner of pool default is aarch64")
    assert told(field, "size") == (
        "no-fit", "it asks for 2 cores, 32.0 GiB; the largest runner that fits has 8 cores, 8.0 GiB",
    )  # fmt: skip


def test_locks_groups_and_max_parallel() -> None:
    field = Field()
    field.runner(slots=9)
    cell = (Hold("matrix", "p/test", 1),)
    group = (Hold("group", "deploy", 1),)
    field.ready.add(
        [
            job("a", at=1, locks="X"), job("b", at=2, locks="XY"), job("c", at=3, locks="y"),
            job("m1", holds=cell), job("m2", at=1, holds=cell),
            job("g1", holds=group, pipeline="p1"), job("g2", at=1, holds=group, pipeline="p2"),
        ]
    )  # fmt: skip
    assert told(field, "b") == ("lock", "lock x (exclusive) is wanted first by job a")
    field.give()
    assert told(field, "b") == ("lock", "lock x (exclusive) is held by job a")
    assert told(field, "c") == ("lock", "lock y (shared) is wanted first by job b")
    assert told(field, "m2") == ("max-parallel", "1 of its matrix run at once (max-parallel)")
    assert told(field, "g2") == ("group", "concurrency group deploy is held by pipeline p1")


def test_quotas_and_limits() -> None:
    field = Field()
    field.runner(slots=9)
    field.say(Said(quotas=[Quota("default", "default", running=1)]))
    field.ready.add([job("a"), job("b", at=1)])
    field.give()
    assert told(field, "b") == ("quota", "tenant default is at its quota of pool default: 1 of 1")
    field.say(Said())
    field.turns.close(tenant_limit("default"), 2.5)
    assert told(field, "b") == ("rate-limit", "the rate limit of tenant default opens in 2.5 s")
    assert field.chosen() == []
    assert why(field, "b", now=3.0) is None
    field.turns.close(pool_limit("default"), 9.0)
    assert told(field, "b", now=3.0) == ("rate-limit", "the rate limit of pool default opens in 6.0 s")


def test_a_large_job_for_which_a_runner_is_emptied() -> None:
    field = Field()
    field.policy = Policy(reserve_seconds=5.0)
    field.runner("r", slots=4, cpu=4, memory=GIB)
    field.ready.add([job("s", cpu=1), job("big", cpu=4, at=1), job("t", cpu=1, at=2)])
    field.give(wall=10.0)
    assert told(field, "big") == ("no-room", "runner r is being emptied: it asks for 4 cores")


def test_reasons_are_told_when_they_change_and_of_nobody_who_only_just_came() -> None:
    field, telling = Field(), Telling()
    field.ready.add([job("a", at=100), job("b", at=100)])

    def tell(wall: float) -> list[tuple[str, str | None]]:
        news = telling.changed(field.scene(0.0, wall))
        telling.told(news)
        return [(one.job_id, found.reason if found else None) for one, found in news]

    assert tell(100 + NEW_SECONDS / 2) == []
    assert tell(102.0) == [("a", "no-runners"), ("b", "no-runners")]
    assert tell(103.0) == []
    field.runner(slots=1)
    assert tell(104.0) == [("a", None), ("b", None)], "only those before it are in its way now"
    assert tell(105.0) == []
    field.turns.close(tenant_limit("default"), 60.0)
    assert tell(106.0) == [("a", "rate-limit"), ("b", "rate-limit")]
    field.turns.close(tenant_limit("default"), 90.0)
    assert tell(107.0) == [], "that it moves is no news"


def test_a_long_queue_is_looked_through_in_turns() -> None:
    field, telling = Field(), Telling()
    field.ready.add(job(f"{n:05d}", at=n / 1000) for n in range(45_000))
    seen: set[str] = set()
    for _ in range(200):
        news = telling.changed(field.scene(0.0, 1000.0))
        telling.told(news)
        seen |= {one.job_id for one, _ in news}
    assert len(seen) == 45_000


def test_jobs_are_counted_by_pool_and_by_the_reason_that_was_told() -> None:
    field, telling = Field(), Telling()
    field.runner(slots=1)
    field.ready.add([job("a", at=1), job("b", at=1, pool="gpu"), job("c", at=2), job("d", labels=("tpu",))])
    assert telling.counted(field.ready) == {("default", "queue"): 3, ("gpu", "queue"): 1}
    telling.told(telling.changed(field.scene(0.0, 100.0)))
    assert telling.counted(field.ready) == {
        ("default", "queue"): 2, ("default", "no-fit"): 1, ("gpu", "no-runners"): 1, ("gpu", "queue"): 0,
    }  # fmt: skip
    field.ready.remove(["d"])
    assert telling.counted(field.ready)["default", "no-fit"] == 0


def test_the_record_says_what_was_told_and_of_no_reason_that_there_is_none() -> None:
    found = job("a", tenant="acme")
    told = news(found, Why("lock", "lock db is held", {"name": "db"}), "now")
    assert (told.tenant, told.job_id, told.reason, told.detail) == ("acme", "a", "lock", {"name": "db"})
    assert (news(found, None, "now").reason, news(found, None, "now").detail) == (None, {})


def test_one_that_came_to_another_lane_is_known_still_and_one_that_came_back_is_not() -> None:
    field, telling = Field(), Telling()

    def tell() -> list[tuple[str, str | None]]:
        found = telling.changed(field.scene(0.0, 1000.0))
        telling.told(found)
        return [(one.job_id, why.reason if why else None) for one, why in found]

    field.ready.add([job("a"), job("b")])
    assert tell() == [("a", "no-runners"), ("b", "no-runners")]
    field.ready.add([job("a", "high")])
    field.ready.remove(["b"])
    field.ready.add([job("b", at=5)])
    field.runner(slots=2)
    assert tell() == [("a", None)], "what is kept of it in the queue is to be taken back"
    assert telling.counted(field.ready)["default", "queue"] == 2


def test_another_holder_is_no_news_and_neither_is_how_many_run() -> None:
    field, telling = Field(), Telling()
    field.runner(slots=9)
    field.say(Said(quotas=[Quota("busy", "default", running=1)]))

    def tell() -> list[str]:
        found = telling.changed(field.scene(0.0, 1000.0))
        telling.told(found)
        return [one.job_id for one, _ in found]

    field.ready.add(job(f"l{n}", at=n, locks="X") for n in range(9))
    field.ready.add(job(f"q{n}", at=n, tenant="busy") for n in range(3))
    assert sorted(field.give()) == ["l0", "q0"]
    assert tell() == [*(f"l{n}" for n in range(1, 9)), "q1", "q2"]
    field.end("l0", "q0")
    assert sorted(field.give()) == ["l1", "q1"]
    assert tell() == []


def test_reasons_that_keep_changing_keep_none_from_being_told() -> None:
    field, telling = Field(), Telling()
    field.ready.add(job(f"a{n:05d}", at=n / 1000) for n in range(3_000))
    field.ready.add(job(f"b{n:05d}", at=n / 1000, pool="nowhere") for n in range(2_000))
    seen: set[str] = set()
    for turn in range(40):
        field.say(Said(pools=[PausedPool("default", "now", f"by {turn}")]))
        found = telling.changed(field.scene(0.0, 1000.0))
        telling.told(found)
        seen |= {one.job_id for one, _ in found}
    assert len(seen) == 5_000


def test_what_another_dispatcher_wrote_is_replaced_or_taken_back() -> None:
    field, telling = Field(), Telling()
    field.ready.add([job("a"), job("b", pool="nowhere"), job("c")])
    field.runner()

    def tell() -> dict[str, str | None]:
        found = telling.changed(field.scene(0.0, 1000.0))
        telling.told(found)
        return {one.job_id: why and why.reason for one, why in found}

    telling.compare(field.ready, {"a", "b", "gone"})
    assert tell() == {"a": None, "b": "no-runners"}
    telling.compare(field.ready, {"b"})
    assert tell() == {}
    telling.compare(field.ready, set())
    assert tell() == {"b": "no-runners"}, "it was not written"
