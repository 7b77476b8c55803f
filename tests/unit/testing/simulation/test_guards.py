"""What a guard does in the simulation: it goes by the clock, whatever its runner does meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from penstock.events.jobs import Grant
from penstock.testing.simulation.fleet import Fleet, Plan, Run
from penstock.testing.simulation.runners import OVERDUE, SimulatedExecutor, VirtualLoop
from penstock.testing.simulation.world import World
from penstock_services.runner.executors import Result

GRACE = 1.0
GRANT = msgspec.convert(
    {
        "job_id": "job",
        "attempt": 1,
        "token": "t",
        "tenant": "default",
        "pipeline_id": "p",
        "name": "alone",
        "spec": {"exclusive": True, "grace": GRACE},
        "pipeline_name": "p",
        "lease": 14.0,
    },
    Grant,
)


class Runner:
    """A runner that runs one attempt, which takes 20 s by itself. Time passes, and it looks now and then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(cast("Any", None), 1)
        self.began = self.world.clock.now()
        self.loop = VirtualLoop(self.world.clock)
        self.fleet = Fleet(self.world)
        plan = Plan(seconds=20.0, success=True, breaks=False, grace=0.5)
        monkeypatch.setattr(self.fleet, "_plan", lambda _grant: plan)
        self.executor = SimulatedExecutor(self.fleet, "runner-0", self.world.clock)
        self.task: asyncio.Task[Result]

    def allow(self, until: float) -> None:
        """Until so many seconds after the beginning. It is the first that the runner hears when it looks."""
        self.loop.call_soon(self.executor.allow, GRANT, until)
        self.loop.spin()

    def start(self) -> None:
        self.task = self.loop.create_task(self.executor.run(GRANT, cast("Any", None)))
        self.loop.spin()

    def later(self, seconds: float, *, looks: bool = True) -> None:
        """Time passes; without a look the runner stands still meanwhile."""
        self.world.clock.advance(seconds)
        if looks:
            self.loop.spin()

    @property
    def run(self) -> Run:
        ((run,),) = self.fleet.runs.values()
        return run

    def lived(self) -> float | None:
        """So long the attempt was alive."""
        return None if self.run.ended_at is None else round(self.run.ended_at - self.began, 3)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    made = Runner(monkeypatch)
    yield made
    with contextlib.suppress(AttributeError):
        made.task.cancel()
        made.loop.spin()
    made.loop.close()


def test_nobody_renews_it(runner: Runner) -> None:
    runner.allow(8.0)
    runner.start()
    runner.later(7.0)
    assert not runner.task.done()
    runner.later(1.0)
    assert runner.task.result() == OVERDUE
    assert runner.lived() == 8.0


def test_it_is_renewed_until_it_ends(runner: Runner) -> None:
    runner.allow(8.0)
    runner.start()
    for until in (14.0, 21.0):
        runner.later(6.0)
        runner.allow(until)
    runner.later(8.0)
    assert runner.task.result() == Result(success=True, exit_code=0)
    assert runner.lived() == 20.0


def test_a_renewal_that_is_heard_too_late_is_none(runner: Runner) -> None:
    runner.allow(8.0)
    runner.start()
    runner.later(30.0, looks=False)
    runner.allow(40.0)
    runner.later(0.0)
    assert runner.task.result() == OVERDUE
    assert runner.lived() == 8.0 + GRACE, "what its guard stops may take its grace"


def test_it_is_stopped_and_then_its_runner_stands_still(runner: Runner) -> None:
    runner.allow(8.0)
    runner.start()
    runner.executor.stop(GRANT, GRACE)
    runner.later(0.0)
    runner.later(30.0, looks=False)
    runner.later(0.0)
    assert runner.task.result().stopped
    assert runner.lived() == 8.0 + GRACE


def test_it_ends_while_its_runner_stands_still(runner: Runner) -> None:
    runner.start()
    runner.later(50.0)
    assert runner.task.result().success
    assert runner.lived() == 20.0, "not when its runner looked"


def test_what_is_over_is_not_begun(runner: Runner) -> None:
    runner.allow(8.0)
    runner.later(8.0)
    runner.start()
    assert runner.task.result() == OVERDUE
    assert runner.fleet.runs == {}


def test_it_dies_with_its_runner(runner: Runner) -> None:
    runner.allow(8.0)
    runner.start()
    runner.later(3.0)
    runner.task.cancel()
    runner.later(0.0)
    assert runner.task.cancelled()
    assert runner.lived() == 3.0
    assert runner.run.success is None
