from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import RetryLater
from penstock.events.jobs import Grant, Report
from penstock.events.workers import Ended, Held, Stop, Stored, Verdict
from penstock.testing.clock import ManualClock
from penstock_services.runner.executors import Result
from penstock_services.runner.executors.noop import NoopExecutor

NewGrant = Callable[..., Grant]
SUCCESS = Result(success=True, exit_code=0)
Body = Callable[[Any], Coroutine[Any, Any, None]]


@pytest.fixture
def within(bench: Any) -> Callable[..., None]:
    """Run a coroutine with a running agent around it."""

    def run(body: Body, **settings: Any) -> None:
        async def whole() -> None:
            async with bench(**settings) as it:
                await body(it)

        asyncio.run(whole())

    return run


def verdict(grant: Grant, what: str) -> Verdict:
    return Verdict(grant.job_id, grant.attempt, what)  # type: ignore[arg-type]


def test_introduces_itself_before_it_offers(within: Any) -> None:
    async def body(it: Any) -> None:
        beat = await it.transport.heartbeats.get()
        assert (beat.n, beat.state, beat.pool, beat.slots, beat.held) == (1, "IDLE", "blue", 2, [])
        assert beat.labels == ["big", "linux"]
        assert beat.executors == ["held", "noop"]
        assert beat.capacity.cpu >= 1
        assert beat.capacity.memory > 0
        assert beat.name

    within(body)


def test_an_attempt_from_grant_to_settled(within: Any, new_grant: NewGrant, clock: ManualClock) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        pipeline_id, started = await it.transport.told.get()
        assert pipeline_id == grant.pipeline_id
        assert started == Report(grant.job_id, 1, grant.token, "started")
        await it.held.started.get()
        it.held.outputs[grant.job_id].write("stdout", b"hello\n")
        clock.advance(1.5)
        it.held.end(grant.job_id, Result(success=False, exit_code=3, reason="exit-code"))
        ended = await it.transport.report("ended")
        assert ended == Report(
            grant.job_id,
            1,
            grant.token,
            "ended",
            exit_code=3,
            reason="exit-code",
            duration_ms=1500,
            last_seq=1,
        )
        offer = await it.transport.offered(grant.job_id)
        assert offer.ended == [Ended(grant.job_id, 1, 1500)]
        assert offer.name == (await it.transport.heartbeats.get()).name, "orders are by name"
        it.transport.settle(started)
        it.transport.settle(ended)
        clock.advance(10)
        it.stop.set()
        await it.done
        assert it.transport.told.empty(), "nothing is told twice once it is settled"

    within(body)


def test_a_grant_that_only_starts_needs_no_offer(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        it.transport.grant(new_grant())
        await it.transport.report("started")
        assert it.transport.offers.empty()

    within(body)


def test_a_burst_of_noops_is_one_record_a_pipeline_and_one_offer(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        pipelines = [new_grant().pipeline_id for _ in range(2)]
        grants = [new_grant("noop", pipeline_id=pipelines[i % 2]) for i in range(200)]
        it.transport.grant(*grants)
        reports = [await it.transport.report("ended") for _ in grants]
        assert {report.job_id for report in reports} == {grant.job_id for grant in grants}
        assert all(report.success and report.exit_code == 0 and report.last_seq == 0 for report in reports)
        assert [len(batch) for batch in it.transport.batches] == [2]
        offer = await it.transport.offered(grants[0].job_id)
        assert len(offer.ended) == 200

    within(body)


def test_noops_keep_to_the_slots(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        long, short = new_grant(), new_grant("noop")
        it.transport.grant(long, short)
        await it.held.started.get()
        assert (await it.transport.report("started")).job_id == long.job_id
        assert it.transport.told.empty(), "the only slot is taken"
        it.held.end(long.job_id, SUCCESS)
        told = [await it.transport.report("ended"), await it.transport.report("ended")]
        assert [report.job_id for report in told] == [long.job_id, short.job_id]

    within(body, slots=1)


def test_an_end_in_hand_before_the_start_was_told_is_told_alone(within: Any) -> None:
    async def body(it: Any) -> None:
        for kind in ("started", "ended"):
            it.agent._reporter.add("p", Report("j", 1, "t", kind))  # type: ignore[arg-type]
        await it.transport.report("ended")
        assert it.transport.told.empty()

    within(body)


def test_a_repeated_grant_runs_once(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        it.transport.grant(grant)
        await it.held.started.get()
        it.held.end(grant.job_id, SUCCESS)
        await it.transport.report("started")
        await it.transport.report("ended")
        it.transport.grant(grant)
        await asyncio.sleep(0)
        assert it.held.started.empty()
        assert it.transport.told.empty()

    within(body)


def test_an_old_grant_is_given_back(within: Any, new_grant: NewGrant, clock: ManualClock) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        clock.advance(10.1)
        it.transport.grant(grant)
        report = await it.transport.report("released")
        assert report == Report(grant.job_id, 1, grant.token, "released", started_here=False)
        assert (await it.transport.offered(grant.job_id)).ended == [Ended(grant.job_id, 1, -1)]
        assert it.held.started.empty()

    within(body)


def test_more_than_can_wait_is_given_back(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        grants = [new_grant() for _ in range(4)]
        it.transport.grant(*grants)
        released = {(await it.transport.report("released")).job_id}
        assert released == {grants[3].job_id}

    within(body, slots=1, look_ahead=2)


@pytest.mark.parametrize("order", ["verdict", "stop"])
def test_a_cancelled_attempt_is_stopped_and_reports_its_end(
    within: Any, new_grant: NewGrant, order: str
) -> None:
    async def body(it: Any) -> None:
        grant = new_grant(grace=7)
        it.transport.grant(grant)
        await it.held.started.get()
        if order == "verdict":
            it.transport.control(n=1, renewed=[verdict(grant, "cancel")])
        else:
            it.transport.control(stop=[Stop(grant.job_id, 1)])
        await it.transport.report("started")
        ended = await it.transport.report("ended")
        assert (ended.success, ended.reason, ended.exit_code) == (False, "cancelled", 143)
        assert it.held.stops == [(grant.job_id, 7.0)]

    within(body)


def test_a_stop_in_the_same_moment_as_the_grant_starts_nothing(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        it.transport.control(stop=[Stop(grant.job_id, 1)])
        ended = await it.transport.report("ended")
        assert (ended.success, ended.started_here, ended.reason) == (False, False, "cancelled")
        assert it.held.started.empty()

    within(body)


def test_the_first_order_names_the_reason(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        it.held.stoppable = False
        grant = new_grant()
        it.transport.grant(grant)
        await it.held.started.get()
        it.transport.control(stop=[Stop(grant.job_id, 1, "fail-fast")])
        it.transport.control(n=2, renewed=[verdict(grant, "cancel")])
        it.held.end(grant.job_id, Result(success=False, exit_code=137, reason="signal", stopped=True))
        await it.transport.report("started")
        assert (await it.transport.report("ended")).reason == "fail-fast"
        assert [grace for _job, grace in it.held.stops] == [30.0, 30.0]

    within(body)


def test_a_finish_that_comes_before_the_stop_stands(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        it.held.stoppable = False
        grant = new_grant()
        it.transport.grant(grant)
        await it.held.started.get()
        it.transport.control(stop=[Stop(grant.job_id, 1)])
        it.held.end(grant.job_id, SUCCESS)
        await it.transport.report("started")
        ended = await it.transport.report("ended")
        assert (ended.success, ended.reason) == (True, None)

    within(body)


def test_cancelling_an_attempt_that_waits_for_a_slot_ends_it_unstarted(
    within: Any, new_grant: NewGrant
) -> None:
    async def body(it: Any) -> None:
        running, waiting = new_grant(), new_grant()
        it.transport.grant(running, waiting)
        await it.held.started.get()
        await it.transport.report("started")
        it.transport.control(stop=[Stop(waiting.job_id, 1)])
        ended = await it.transport.report("ended")
        assert (ended.job_id, ended.started_here, ended.reason) == (waiting.job_id, False, "cancelled")
        it.held.end(running.job_id, SUCCESS)
        await it.transport.report("ended")
        assert it.held.started.empty(), "it never starts"

    within(body, slots=1)


@pytest.mark.parametrize("how", ["verdict", "refused"])
def test_an_attempt_given_away_is_killed_and_never_mentioned_again(
    within: Any, new_grant: NewGrant, how: str
) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        await it.held.started.get()
        started = await it.transport.report("started")
        if how == "verdict":
            it.transport.control(n=1, renewed=[verdict(grant, "void")])
        else:
            it.transport.settle(started, accepted=False)
        assert it.held.stops == [(grant.job_id, 0)]
        assert (await it.transport.offered(grant.job_id)).ended[0].job_id == grant.job_id
        assert it.transport.told.empty()
        assert it.agent._session.seats() == []

    within(body)


def test_an_attempt_given_away_before_it_started_never_starts(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        running, waiting = new_grant(), new_grant()
        it.transport.grant(running, waiting)
        await it.transport.report("started")
        it.transport.control(n=1, renewed=[verdict(waiting, "void"), verdict(running, "ok")])
        await it.transport.offered(waiting.job_id)
        assert [held.job_id for held in it.agent._session.held()] == [running.job_id]
        assert it.transport.told.empty()

    within(body, slots=1)


def test_orders_about_strangers_are_ignored(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        stranger = new_grant()
        it.transport.control(
            renewed=[verdict(stranger, "cancel"), verdict(stranger, "void")],
            stop=[Stop(stranger.job_id, 1)],
            stored=[Stored(stranger.job_id, 1, 9)],
        )
        it.transport.settle(Report(stranger.job_id, 1, "t", "ended"))
        it.transport.settle(Report(stranger.job_id, 1, "t", "started"), accepted=False)

    within(body)


def test_a_run_that_takes_too_long_is_stopped(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        grant = new_grant(timeout=0.01, grace=3)
        it.transport.grant(grant)
        await it.transport.report("started")
        ended = await it.transport.report("ended")
        assert (ended.success, ended.reason) == (False, "run-timeout")
        assert it.held.stops == [(grant.job_id, 3.0)]

    within(body)


def test_an_executor_that_breaks_is_an_infra_error_and_the_runner_goes_on(
    within: Any, new_grant: NewGrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_anything: object) -> Result:
        raise OSError(11, "Resource temporarily unavailable")

    def broken_now(*_anything: object) -> Result:
        raise ValueError("broken")

    monkeypatch.setattr(NoopExecutor, "run_now", broken_now)

    async def body(it: Any) -> None:
        monkeypatch.setattr(it.held, "run", broken)
        it.transport.grant(new_grant(), new_grant("noop"))
        ends = [await it.transport.report("ended") for _ in range(2)]
        assert [report.reason for report in ends] == ["infra-error", "infra-error"]
        assert it.agent._session.running == 0

    within(body)


def test_a_report_is_told_again_until_it_is_settled(
    within: Any, new_grant: NewGrant, clock: ManualClock
) -> None:
    async def body(it: Any) -> None:
        it.transport.grant(new_grant("noop"))
        first = await it.transport.report("ended")
        it.agent._reporter.tick()
        clock.advance(5)
        it.agent._reporter.tick()
        assert await it.transport.report("ended") == first
        it.transport.settle(first)
        clock.advance(5)
        it.agent._reporter.tick()
        await asyncio.sleep(0)
        assert it.transport.told.empty()

    within(body)


def test_without_services_it_goes_on_and_tells_later(
    within: Any, new_grant: NewGrant, clock: ManualClock
) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        await it.held.started.get()
        await it.transport.report("started")
        it.transport.away = True
        it.held.end(grant.job_id, SUCCESS)
        await it.held.ended.get()
        await asyncio.sleep(0)
        assert it.agent._session.running == 0
        await it.agent._heartbeat("IDLE")
        assert it.transport.told.empty()
        it.transport.away = False
        clock.advance(5)
        it.agent._reporter.tick()
        assert (await it.transport.report("ended")).success

    within(body)


async def lose(grant: Any, it: Any) -> None:
    """A life of a runner in which an attempt ends and nobody confirms it."""
    it.transport.grant(grant)
    it.held.outputs[await it.held.started.get()].write("stdout", b"hello\n")
    it.held.end(grant.job_id, SUCCESS)
    await it.transport.report("started")
    await it.transport.report("ended")


def test_the_next_process_tells_the_ends_that_its_predecessor_could_not(
    within: Any, new_grant: NewGrant, tmp_path: Path
) -> None:
    grant = new_grant()

    async def find(it: Any) -> None:
        it.agent._reporter.tick()
        pipeline_id, report = await it.transport.told.get()
        assert (pipeline_id, report.kind, report.token) == (grant.pipeline_id, "ended", grant.token)
        assert it.agent._session.held() == [], "it is not this session's attempt"
        head, _payload = await it.transport.sent.get()
        assert (head.job_id, head.session_id) == (grant.job_id, it.transport.session_id)
        it.transport.settle(report)
        it.transport.control(stored=[Stored(grant.job_id, 1, 1)])

    async def quiet(it: Any) -> None:
        it.agent._reporter.tick()
        await asyncio.sleep(0)
        assert it.transport.told.empty()

    within(functools.partial(lose, grant))
    within(find)
    within(quiet)
    assert list((tmp_path / "runner-0" / "spool").iterdir()) == []


def test_one_without_slots_only_supervises(within: Any, new_grant: NewGrant, tmp_path: Path) -> None:
    """It sends what an earlier life left in its folder, and takes no jobs."""
    grant = new_grant()

    async def supervise(it: Any) -> None:
        assert (await it.transport.heartbeats.get()).slots == 0
        it.agent._reporter.tick()
        assert (await it.transport.report("ended")).job_id == grant.job_id
        head, _payload = await it.transport.sent.get()
        assert head.job_id == grant.job_id
        for executor in ("held", "noop"):
            unwanted = new_grant(executor)
            it.transport.grant(unwanted)
            assert (await it.transport.report("released")).job_id == unwanted.job_id
        assert it.agent._session.held() == []

    within(functools.partial(lose, grant))
    within(supervise, slots=0)


@pytest.mark.parametrize("stopped", [False, True])
def test_who_told_it_to_wait_is_in_its_report(within: Any, new_grant: NewGrant, stopped: bool) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        await it.transport.report("started")
        await it.held.started.get()
        it.held.stoppable = False
        if stopped:
            it.transport.control(stop=[Stop(grant.job_id, 1)])
        limited = (("registry", 30.0),)
        it.held.end(grant.job_id, Result(success=False, exit_code=1, stopped=stopped, limited=limited))
        assert (await it.transport.report("ended")).limited == [("registry", 30.0)]

    within(body)


def test_draining_gives_back_stops_reports_and_says_goodbye(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        running, waiting = new_grant(grace=60), new_grant()
        it.transport.grant(running, waiting)
        await it.held.started.get()
        it.stop.set()
        await it.done
        told = {report.job_id: report for report in [it.transport.told.get_nowait()[1] for _ in range(3)]}
        assert told[waiting.job_id].kind == "released"
        assert (told[running.job_id].kind, told[running.job_id].reason) == ("ended", "worker-lost")
        assert it.held.stops == [(running.job_id, 5.0)], "at most the grace of draining"
        beats = [it.transport.heartbeats.get_nowait() for _ in range(it.transport.heartbeats.qsize())]
        assert [beat.state for beat in beats] == ["IDLE", "DRAINING", "OFFLINE"]
        assert beats[1].held == [Held(running.job_id, 1, running.token, "started")]

    within(body, slots=1)


def test_draining_waits_for_what_runs(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        await it.held.started.get()
        it.stop.set()
        while (await it.transport.heartbeats.get()).state != "DRAINING":
            pass
        it.held.end(grant.job_id, SUCCESS)
        await it.done
        await it.transport.report("started")
        assert (await it.transport.report("ended")).success
        assert it.held.stops == []

    within(body, drain_seconds=60)


def test_a_transport_that_breaks_ends_the_agent(within: Any) -> None:
    async def body(it: Any) -> None:
        it.transport.ended.set_exception(RetryLater("gone"))
        with pytest.raises(ExceptionGroup) as caught:
            await it.done
        assert caught.group_contains(RetryLater)

    within(body)


def test_what_nobody_confirms_is_stopped_after_a_while(
    within: Any, new_grant: NewGrant, clock: ManualClock
) -> None:
    async def body(it: Any) -> None:
        ended, running = new_grant(grace=7), new_grant(grace=7)
        it.transport.grant(ended, running)
        for _ in range(2):
            await it.transport.report("started")
            await it.held.started.get()
        clock.advance(590)
        await it.agent._pulse()
        n = it.agent._session.beats
        clock.advance(20)
        it.transport.control(n=n)
        await it.agent._pulse()
        assert it.held.stops == [], "that heartbeat was confirmed"
        it.held.end(ended.job_id, SUCCESS)
        assert (await it.transport.report("ended")).job_id == ended.job_id
        it.transport.away = True
        for _ in range(60):
            clock.advance(10)
            await it.agent._pulse()
        assert it.held.stops == [(running.job_id, 7)]
        it.transport.away = False
        while (report := await it.transport.report("ended")).job_id != running.job_id:
            clock.advance(6)
            it.agent._reporter.tick()
        assert (report.success, report.reason, report.exit_code) == (False, "worker-lost", 143)
        frames = [it.transport.sent.get_nowait() for _ in range(it.transport.sent.qsize())]
        assert frames or report.last_seq == 1
        it.transport.settle(report, accepted=False)

    within(body)


def test_an_exclusive_attempt_may_run_as_long_as_its_lease_is_renewed(
    within: Any, new_grant: NewGrant, clock: ManualClock
) -> None:
    async def body(it: Any) -> None:
        grant = new_grant(lease=92.0, grace=2)
        sent = clock.monotonic()
        it.transport.grant(grant)
        await it.held.started.get()
        assert it.held.allowed == [(grant.job_id, sent + 85)]
        clock.advance(5)
        await it.agent._heartbeat("BUSY")
        it.transport.control(n=2, renewed=[verdict(grant, "ok")])
        assert it.held.allowed[1:] == [(grant.job_id, sent + 5 + 85)]

    within(body)


@pytest.mark.parametrize("what", ["cancel", "void", "stop"])
def test_what_is_to_end_is_not_allowed_to_run_longer(
    within: Any, new_grant: NewGrant, clock: ManualClock, what: str
) -> None:
    async def body(it: Any) -> None:
        grant = new_grant(lease=92.0, grace=2)
        it.transport.grant(grant)
        await it.held.started.get()
        it.held.stoppable = False
        clock.advance(5)
        await it.agent._heartbeat("BUSY")
        word, stop = ("ok", [Stop(grant.job_id, 1, "run-timeout")]) if what == "stop" else (what, [])
        it.transport.control(n=2, renewed=[verdict(grant, word)], stop=stop)
        assert len(it.held.allowed) == 1

    within(body)


def test_after_a_heartbeat_that_failed_comes_the_next(within: Any, new_grant: NewGrant) -> None:
    async def body(it: Any) -> None:
        grant = new_grant()
        it.transport.grant(grant)
        await it.held.started.get()
        assert (await it.transport.heartbeats.get()).n == 1
        it.transport.away = True
        await it.agent._pulse()
        it.transport.away = False
        await it.agent._pulse()
        beat = await it.transport.heartbeats.get()
        assert (beat.n, [held.job_id for held in beat.held]) == (3, [grant.job_id])

    within(body)
