from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.lanes import LANES, Lane
from penstock.events.jobs import ReadyJob
from penstock.events.workers import Ended, Heartbeat, Held, Offer, Phase
from penstock_services.dispatcher.decide import Choice, Policy, decide
from penstock_services.dispatcher.fleet import Fleet
from penstock_services.dispatcher.ready import Ready

KIND = ("default", "default", "noop")


def job(
    name: str, lane: Lane = "normal", at: int = 0, pool: str = "default", labels: list[str] | None = None
) -> ReadyJob:
    return ReadyJob(
        job_id=name, pipeline_id="p", tenant="default", pool=pool, lane=lane, executor="noop",
        labels=labels or [], queued_at=datetime.fromtimestamp(at, UTC),
    )  # fmt: skip


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
    return [choice.job.job_id for choice in choices(jobs, runners, policy, now)]


def choices(jobs: Ready, runners: Fleet, policy: Policy | None = None, now: float = 0.0) -> list[Choice]:
    return decide(jobs, runners, policy or Policy(), now, jobs.pools())


def test_lanes_come_strictly_first_then_age() -> None:
    jobs = ready(
        job("n", at=1), job("h", "high", at=3), job("c2", "critical", at=9), job("c1", "critical", at=2)
    )
    assert choose(jobs, fleet(offer(slots=4))) == ["c1", "c2", "h", "n"]


def test_slots_bound_what_is_granted() -> None:
    assert choose(ready(*(job(str(n), at=n) for n in range(5))), fleet()) == ["0", "1"]


def test_labels_and_executors_must_fit_and_do_not_hold_others_up() -> None:
    jobs = ready(job("gpu", at=0, labels=["gpu"]), job("plain", at=1))
    assert choose(jobs, fleet()) == ["plain"]
    assert choose(jobs, fleet(offer(labels=["gpu", "x64"]))) == ["gpu", "plain"]
    assert choose(jobs, Fleet(7.5)) == []


def test_work_is_spread_to_the_runner_with_most_room() -> None:
    given_out = choices(
        ready(*(job(str(n), at=n) for n in range(4))), fleet(offer("a", slots=2), offer("b", slots=2))
    )
    assert sorted(choice.runner.session_id for choice in given_out) == ["a", "a", "b", "b"]


def test_silent_and_draining_runners_get_nothing() -> None:
    jobs = ready(job("a"))
    assert choose(jobs, fleet(), now=7.4) == ["a"]
    assert choose(jobs, fleet(), now=7.6) == []
    assert choose(jobs, fleet(offer(state="DRAINING"))) == []


def test_short_jobs_are_granted_ahead_and_long_ones_are_not() -> None:
    jobs = ready(*(job(f"r{n}", at=n) for n in range(2000)))
    runners = fleet()
    for name, ms in (("x", 1), ("y", 60_000)):
        runners.grant("s", (name, 1), KIND)
        runners.offer(offer("s", 1, 2, (name, ms)), 0.0)
        granted = len(choose(jobs, runners, Policy(limit=10_000, lookahead_jobs=100)))
        assert granted == (102 if ms == 1 else 2)


def test_kinds_that_became_long_or_were_given_back_are_no_longer_granted_ahead() -> None:
    jobs = ready(*(job(f"r{n}", at=n) for n in range(50)))
    runners = fleet()
    runners.grant("s", ("x", 1), KIND)
    runners.offer(offer("s", 1, 2, ("x", 1)), 0.0)
    assert len(choose(jobs, runners)) > 2
    runners.grant("s", ("long", 1), KIND)
    for n in (2, 3):
        runners.heartbeat(beat(n, ("long", "started")), 0.0)
    assert len(choose(jobs, runners)) == 1, "it has run for a heartbeat"
    runners.durations[KIND] = 0.001
    runners.grant("s", ("back", 1), KIND)
    runners.offer(offer("s", 3, 2, ("back", -1)), 0.0)
    assert len(choose(jobs, runners)) == 1, "the runner gave one back"


def test_a_grant_takes_its_slot_until_an_offer_or_heartbeat_frees_it() -> None:
    jobs = ready(job("z"))
    runners = fleet(offer(slots=1))
    runners.grant("s", ("a", 1), KIND)
    assert choose(jobs, runners) == []
    runners.offer(offer("s", 1, 1, ("a", 5)), 0.0)
    assert choose(jobs, runners) == ["z"]


def test_an_older_heartbeat_does_not_bring_back_what_an_offer_ended() -> None:
    runners = fleet(offer(slots=1))
    runners.grant("s", ("a", 1), KIND)
    runners.offer(offer("s", 2, 1, ("a", 5)), 0.0)
    runners.heartbeat(beat(2, ("a", "started"), slots=1), 0.0)
    assert choose(ready(job("z")), runners) == ["z"]


def test_a_heartbeat_mends_a_lost_offer_and_a_lost_grant() -> None:
    runners = fleet(offer(slots=1))
    runners.grant("s", ("a", 1), KIND)
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
    runners.assume({"s": [("a", 1)], "unknown": [("b", 1)]})
    assert choose(ready(job("z")), runners) == []


def test_ready_ignores_repeats_and_forgets_what_is_gone() -> None:
    jobs = ready(job("a"), job("a"), job("b"))
    assert len(jobs) == 2
    jobs.keep({"b"})
    assert len(jobs) == 1
    assert "a" not in jobs
    jobs.remove(["b", "never there"])
    assert jobs.pools() == []


@given(
    st.lists(
        st.tuples(st.sampled_from(LANES), st.integers(0, 50), st.sampled_from([(), ("gpu",)])), max_size=60
    ),
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=6),
)
def test_no_decision_overcommits_or_passes_over_a_job_that_fits(
    waiting: list[tuple[Lane, int, tuple[str, ...]]], runners: list[tuple[int, bool]]
) -> None:
    jobs = ready(
        *(job(f"{n:03d}", lane, at, labels=list(labels)) for n, (lane, at, labels) in enumerate(waiting))
    )
    known = Fleet(7.5)
    for n, (slots, gpu) in enumerate(runners):
        known.offer(offer(f"s{n}", 1, slots, labels=["gpu"] if gpu else []), 0.0)
    given_out = choices(jobs, known)
    taken = {f"s{n}": 0 for n in range(len(runners))}
    for choice in given_out:
        taken[choice.runner.session_id] += 1
        assert choice.runner.labels.issuperset(choice.job.labels)
    assert all(taken[f"s{n}"] <= slots for n, (slots, _) in enumerate(runners))
    plain_room = sum(slots for slots, _ in runners) - len(given_out)
    left = [one for one in waiting if not one[2]]
    chosen_plain = sum(1 for choice in given_out if not choice.job.labels)
    assert plain_room == 0 or chosen_plain == len(left)


@pytest.mark.parametrize("limit", [1, 3])
def test_a_decision_is_bounded(limit: int) -> None:
    jobs = ready(*(job(str(n), at=n) for n in range(9)))
    assert len(choose(jobs, fleet(offer(slots=8)), Policy(limit=limit))) == limit
