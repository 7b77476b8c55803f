"""What the dispatcher believes of its runners, by what it hears."""

from __future__ import annotations

from tests.unit.services.dispatcher.field import job

from penstock.events.jobs import ReadyJob
from penstock.events.workers import Ended, Heartbeat, Held, Offer, Phase
from penstock_services.dispatcher.decide import Policy, Scene, decide
from penstock_services.dispatcher.fleet import Fleet, Lease
from penstock_services.dispatcher.policies import Policies
from penstock_services.dispatcher.ready import Ready, Shape
from penstock_services.dispatcher.runners import Load
from penstock_services.dispatcher.turns import Turns

KIND = ("default", "default", "noop")
SHAPE = Shape("noop", ())


def offer(session: str = "s", n: int = 1, slots: int = 2, *ended: tuple[str, int], **more: object) -> Offer:
    return Offer(
        session_id=session, n=n, pool="default", slots=slots, executors=["noop"],
        ended=[Ended(job_id, 1, ms) for job_id, ms in ended], **more,  # type: ignore[arg-type]
    )  # fmt: skip


def beat(n: int, *held: tuple[str, Phase], slots: int = 2) -> Heartbeat:
    return Heartbeat(
        session_id="s", n=n, name="r", pool="default", slots=slots, executors=["noop"],
        held=[Held(job_id=job_id, attempt=1, token="t", phase=phase) for job_id, phase in held],
    )  # fmt: skip


def fleet(*offers: Offer) -> Fleet:
    made = Fleet(silent_seconds=7.5)
    for one in offers or (offer(),):
        made.offer(one, 0.0)
    return made


def ready(*jobs: ReadyJob) -> Ready:
    made = Ready()
    made.add(jobs)
    return made


def choose(jobs: Ready, runners: Fleet, policy: Policy | None = None, now: float = 0.0) -> list[str]:
    scene = Scene(jobs, runners, Policies(), policy or Policy(), Turns(), now, now)
    return [choice.job.job_id for choice in decide(scene, jobs.pools()).choices]


def grant(runners: Fleet, name: str) -> None:
    runners.grant("s", (name, 1), KIND, SHAPE, 0.0)


def test_silent_and_draining_runners_get_nothing() -> None:
    jobs = ready(job("a"))
    assert choose(jobs, fleet(), now=7.4) == ["a"]
    assert choose(jobs, fleet(), now=7.6) == []
    assert choose(jobs, fleet(offer(state="DRAINING"))) == []


def test_short_jobs_are_granted_ahead_and_long_ones_are_not() -> None:
    jobs = ready(*(job(f"r{n}", at=n) for n in range(2000)))
    runners = fleet()
    for name, ms in (("x", 1), ("y", 60_000)):
        grant(runners, name)
        runners.offer(offer("s", 1, 2, (name, ms)), 0.0)
        granted = len(choose(jobs, runners, Policy(limit=10_000, lookahead_jobs=100)))
        assert granted == (102 if ms == 1 else 2)


def test_kinds_that_became_long_or_were_given_back_are_no_longer_granted_ahead() -> None:
    jobs = ready(*(job(f"r{n}", at=n) for n in range(50)))
    runners = fleet()
    grant(runners, "x")
    runners.offer(offer("s", 1, 2, ("x", 1)), 0.0)
    assert len(choose(jobs, runners)) > 2
    grant(runners, "long")
    for n in (2, 3):
        runners.heartbeat(beat(n, ("long", "started")), 0.0)
    assert len(choose(jobs, runners)) == 1, "it has run for a heartbeat"
    runners.durations[KIND] = 0.001
    grant(runners, "back")
    runners.offer(offer("s", 3, 2, ("back", -1)), 0.0)
    assert len(choose(jobs, runners)) == 1, "the runner gave one back"


def test_a_grant_takes_its_slot_until_an_offer_or_heartbeat_frees_it() -> None:
    jobs = ready(job("z"))
    runners = fleet(offer(slots=1))
    grant(runners, "a")
    assert choose(jobs, runners) == []
    runners.offer(offer("s", 1, 1, ("a", 5)), 0.0)
    assert choose(jobs, runners) == ["z"]


def test_an_older_heartbeat_does_not_bring_back_what_an_offer_ended() -> None:
    runners = fleet(offer(slots=1))
    grant(runners, "a")
    runners.offer(offer("s", 2, 1, ("a", 5)), 0.0)
    runners.heartbeat(beat(2, ("a", "started"), slots=1), 0.0)
    assert choose(ready(job("z")), runners) == ["z"]


def test_a_heartbeat_mends_a_lost_offer_and_a_lost_grant() -> None:
    runners = fleet(offer(slots=1))
    grant(runners, "a")
    runners.heartbeat(beat(2, slots=1), 0.0)
    assert choose(ready(job("z")), runners) == [], "the grant may still be on its way"
    runners.heartbeat(beat(4, slots=1), 0.0)
    assert choose(ready(job("z")), runners) == ["z"]


def test_a_heartbeat_of_an_unknown_attempt_takes_a_slot_and_an_ended_one_does_not() -> None:
    runners = fleet(offer(slots=1))
    runners.heartbeat(beat(2, ("a", "started"), slots=1), 0.0)
    assert choose(ready(job("z")), runners) == []
    runners.heartbeat(beat(3, ("a", "ended"), slots=1), 0.0)
    assert choose(ready(job("z")), runners) == ["z"]


def test_a_new_owner_counts_the_leases() -> None:
    runners = fleet(offer(slots=1))
    load = Load(0, KIND)
    runners.assume([Lease("s", ("a", 1), load), Lease("unknown", ("b", 1), load)], 0.0)
    assert choose(ready(job("z")), runners) == []
    runners.offer(Offer(session_id="unknown", n=7, pool="default", slots=1, executors=["noop"]), 0.0)
    assert choose(ready(job("z")), runners) == [], "that of a session that was not heard of yet"


def test_size_and_kind_of_what_only_a_heartbeat_told_of_are_learnt_from_the_leases() -> None:
    runners = fleet(offer(slots=4))
    runners.heartbeat(beat(2, ("a", "started"), ("b", "started"), slots=4), 0.0)
    assert runners.unknown() == {("a", 1), ("b", 1)}
    load = Load(0, KIND, 2.0, 1024, 2.0)
    runners.amend([Lease("s", ("a", 1), load), Lease("s", ("ended", 1), load)], 0.0)
    assert runners.unknown() == {("b", 1)}
    pool = runners.pool("default")
    assert (pool.attempts("default"), pool.account("default", 0.0).running) == (1, 2.0)
    runners.amend([Lease("s", ("a", 1), load)], 0.0)
    assert pool.attempts("default") == 1, "what is held already is not counted twice"


def test_what_is_taken_twice_is_counted_once() -> None:
    runners = fleet()
    grant(runners, "a")
    grant(runners, "a")
    assert runners.pool("default").attempts("default") == 1
    runners.offer(offer("s", 1, 2, ("a", 5)), 0.0)
    account = runners.pool("default").account("default", 0.0)
    assert (account.attempts, account.running) == (0, 0.0)


def test_pools_durations_and_accounts_are_forgotten_with_their_last_use() -> None:
    runners = fleet()
    for n in range(30):
        runners.pool(f"misspelt-{n}")
        attempt = (f"j{n}", 1)
        shape = Shape("noop", (), cpu=1.1)
        runners.grant("s", attempt, (f"t{n}", "default", "noop"), shape, 0.0)
        runners.grant("s", (f"k{n}", 1), (f"t{n}", "default", "noop"), Shape("noop", (), cpu=1.7), 0.0)
    runners.offer(offer("s", 1, 2, *((f"{one}{n}", 60) for one in "jk" for n in range(30))), 1.0)
    runners.forget_silent(2.0)
    assert len(runners.durations) == 30
    assert list(runners._pools) == ["default"]
    runners.offer(offer("s", 2), 7200.0)
    runners.forget_silent(7200.0)
    assert not runners.durations
    assert not runners.pool("default")._accounts
    runners.forget_silent(10_000.0)
    assert not runners._pools
