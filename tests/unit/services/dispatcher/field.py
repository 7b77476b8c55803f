"""Ready jobs, runners and decisions in few words."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.core.lanes import Lane
from penstock.events.jobs import Hold, ReadyJob, Resources
from penstock.events.workers import Capacity, Heartbeat, Held
from penstock_services.dispatcher.decide import Decision, Policy, Scene, decide
from penstock_services.dispatcher.fleet import Fleet
from penstock_services.dispatcher.policies import Policies, Said
from penstock_services.dispatcher.ready import Ready, Shape
from penstock_services.dispatcher.turns import Turns

BEATS = 7.5


def job(
    name: str,
    lane: Lane = "normal",
    at: float = 0,
    *,
    pool: str = "default",
    tenant: str = "default",
    labels: tuple[str, ...] = (),
    locks: str = "",
    holds: tuple[Hold, ...] = (),
    cpu: float = 0,
    memory: int = 0,
    arch: str = "",
    immediate: bool = False,
    pipeline: str = "p",
) -> ReadyJob:
    """`locks`: their letters, lower case shared, upper case exclusive."""
    asked = tuple(Hold("lock", one.lower(), 1 if one.isupper() else None) for one in locks)
    return ReadyJob(
        job_id=name, pipeline_id=pipeline, tenant=tenant, pool=pool, lane=lane, executor="noop",
        labels=list(labels), queued_at=datetime.fromtimestamp(at, UTC), holds=asked + holds,
        immediate=immediate, resources=Resources(cpu, memory, arch) if cpu or memory or arch else None,
    )  # fmt: skip


class Field:
    """A queue, a fleet and what was said about them; `give` keeps account as the dispatcher does."""

    def __init__(self) -> None:
        self.ready = Ready()
        self.fleet = Fleet(BEATS)
        self.turns = Turns()
        self.policies = Policies()
        self.policy = Policy()
        self.beats: dict[str, int] = {}
        self.attempts: dict[str, tuple[str, ReadyJob, Shape]] = {}

    def say(self, said: Said) -> None:
        """What operators said."""
        self.policies = Policies(said)
        self.ready.locks.overtaking = {one.pool: one.overtaking for one in said.pools}

    def runner(
        self, name: str = "s", slots: int = 2, *, pool: str = "default", now: float = 0.0, **more: object
    ) -> None:
        """A heartbeat that tells who it is; what it holds is left as it is known."""
        n = self.beats[name] = self.beats.get(name, 0) + 1
        size = {key: more.pop(key) for key in ("cpu", "memory", "arch") if key in more}
        held = [
            Held(job_id, 1, "token", "started")
            for job_id, (session, _, _) in self.attempts.items()
            if session == name
        ]
        beat = Heartbeat(
            session_id=name, n=n, name=name, pool=pool, slots=slots, executors=["noop"], held=held,
            capacity=Capacity(**size), **more,  # type: ignore[arg-type]
        )  # fmt: skip
        self.fleet.heartbeat(beat, now)

    def scene(self, now: float = 0.0, wall: float = 0.0) -> Scene:
        """What the next decision looks at."""
        for pool in self.ready.holding_pools():
            for asking in self.ready.holding(pool):
                could = self.fleet.pool(pool).could(asking.shape) and not self.policies.paused(pool)
                self.ready.stand(asking, in_line=could)
        self.ready.settle(now)
        return Scene(self.ready, self.fleet, self.policies, self.policy, self.turns, now, wall)

    def decide(self, now: float = 0.0, wall: float = 0.0) -> Decision:
        """One decision, which changes nothing."""
        return decide(self.scene(now, wall), self.ready.pools())

    def chosen(self, now: float = 0.0, wall: float = 0.0) -> list[str]:
        """The jobs of one decision."""
        return [choice.job.job_id for choice in self.decide(now, wall).choices]

    def give(self, now: float = 0.0, wall: float = 0.0) -> list[str]:
        """Decide, and take it that all was claimed."""
        decision = self.decide(now, wall)
        for job_id, runner in decision.kept:
            runner.pool.keep(job_id, runner, now + 10)
        for choice in decision.choices:
            job = choice.job
            self.attempts[job.job_id] = choice.runner.session_id, job, choice.shape
            kind = (job.tenant, job.pool, job.executor)
            self.fleet.grant(choice.runner.session_id, (job.job_id, 1), kind, choice.shape, now)
        self.turns.none_aged(decision.none_aged, now)
        for pool in decision.sought:
            self.fleet.pool(pool).sought_at = now
        self.turns.granted((one.job.pool, one.job.tenant, one.aged) for one in decision.choices)
        self.ready.remove([choice.job.job_id for choice in decision.choices], claimed=True)
        return [choice.job.job_id for choice in decision.choices]

    def end(self, *names: str, now: float = 0.0) -> None:
        """These jobs ended, and their locks are free."""
        for name in names:
            session, job, _ = self.attempts.pop(name)
            self.fleet._runners[session].drop((name, 1), now)
            for hold in job.holds:
                if hold.kind != "group":
                    self.ready.locks.free((job.tenant, hold.kind, hold.name), name)
