"""All that a dispatcher knows: the queue, the runners, what operators said, whose turn it is. No effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from penstock.events.jobs import Freed
from penstock_services.dispatcher.decide import Choice, Decision, Policy, Scene
from penstock_services.dispatcher.fleet import Fleet
from penstock_services.dispatcher.locks import Name
from penstock_services.dispatcher.policies import Policies, Said
from penstock_services.dispatcher.ready import Asking, Ready, Shape
from penstock_services.dispatcher.turns import Turns, pool_limit, tenant_limit

KEPT_SECONDS: Final = 10.0
"""A runner that is being emptied for a job stays kept for so long after the job was last found to need it."""
ASIDE_SECONDS: Final = 10.0
"""Jobs of a pool whose limit opens only later than that stand in no line."""


class _Stood(NamedTuple):
    """What decided which jobs of a pool stand in line for their locks."""

    version: int
    """Of what its runners can do."""
    policies: Policies
    aside: bool
    shapes: frozenset[Shape]
    """What they can do of what is asked for."""


class Memory:
    """Times are monotonic seconds, but for `wall`."""

    def __init__(self, policy: Policy, silent_seconds: float) -> None:
        self.policy = policy
        self.ready = Ready()
        self.ready.locks.age_every = policy.age_every
        self.fleet = Fleet(silent_seconds)
        self.policies = Policies()
        self.policies_due = True
        """They are to be read again."""
        self.turns = Turns()
        self._stood: dict[str, _Stood] = {}
        """By pool what `_stand` went by."""

    def said(self, said: Said, now: float) -> None:
        """What operators have said, as it is now."""
        self.policies = Policies(said)
        self.policies_due = False
        self.ready.locks.overtaking = {one.pool: one.overtaking for one in said.pools if one.overtaking}
        self.turns.open_limits()
        self.ready.locks.open_limits()
        for limit in said.limits:
            if limit.opens_in > 0:
                self._close_limit((limit.tenant, limit.kind, limit.name), now + limit.opens_in)
        self.turns.keep(self.ready.pools())

    def freed(self, news: Iterable[Freed]) -> None:
        """Something that jobs may wait for was given back, or an operator said something."""
        for one in news:
            if one.kind == "policy":
                self.policies_due = True
            elif one.kind == "running":
                self.turns.open((one.tenant, one.kind, one.name))
            else:
                self.ready.locks.free((one.tenant, one.kind, one.name), one.holder)

    def scene(self, now: float, wall: float) -> Scene:
        """What the next decision looks at."""
        self._stand(now)
        aged_before = datetime.fromtimestamp(wall, UTC) - timedelta(seconds=self.policy.age_seconds)
        self.ready.settle(now, aged_before)
        return Scene(self.ready, self.fleet, self.policies, self.policy, self.turns, now, wall)

    def decided(self, decision: Decision, now: float) -> None:
        """Keep the runners that the decision wants to have emptied, and note what it looked for in vain."""
        self.turns.none_aged(decision.none_aged, now)
        for pool in decision.sought:
            self.fleet.pool(pool).sought_at = now
        for job_id, runner in decision.kept:
            runner.pool.keep(job_id, runner, now + KEPT_SECONDS)

    def claimed(self, choices: Sequence[Choice], attempts: Mapping[str, int], now: float) -> None:
        """These were claimed, with these attempt numbers."""
        for choice in choices:
            job = choice.job
            kind = (job.tenant, job.pool, job.executor)
            attempt = (job.job_id, attempts[job.job_id])
            self.fleet.grant(choice.runner.session_id, attempt, kind, choice.shape, now)
        self.turns.granted((choice.job.pool, choice.job.tenant, choice.aged) for choice in choices)
        self.ready.remove([choice.job.job_id for choice in choices], claimed=True)

    def refused(self, waits: Iterable[Mapping[str, Any]], now: float) -> list[Name]:
        """The claim found these closed (rows of `admit_v1`). Returns names whose holders are not known."""
        unknown: dict[Name, None] = {}
        for wait in waits:
            job = self.ready.get(wait["job_id"])
            if job is None:
                continue
            name = (job.tenant, wait["kind"], wait["name"])
            if wait["kind"] == "limit":
                kind, _, called = wait["name"].partition("/")
                self._close_limit((job.tenant, kind, called), now + wait["opens_in"])
            elif wait["kind"] == "running":
                self.turns.close(name)
            elif wait["kind"] == "group" and wait["holder"] is not None:
                # Also one that has not entered yet: it is before this one.
                holder, since = wait["holder"], wait["since"]
                self.ready.locks.held(name, {holder: wait["most"]}, {holder: since})
            else:
                unknown[name] = None
        return list(unknown)

    def holders(self, names: Iterable[Name], rows: Iterable[Mapping[str, Any]]) -> None:
        """Who holds these names, as Postgres has it: {tenant, kind, name, holder, most, since}."""
        found: dict[Name, list[Mapping[str, Any]]] = {name: [] for name in names}
        for row in rows:
            found[row["tenant"], row["kind"], row["name"]].append(row)
        for name, held in found.items():
            most = {row["holder"]: row["most"] for row in held}
            self.ready.locks.held(name, most, {row["holder"]: row["since"] for row in held})

    def _close_limit(self, name: Name, opens_at: float) -> None:
        tenant, kind, called = name
        if kind == "lock":
            self.ready.locks.close(name, opens_at)
        else:
            self.turns.close(pool_limit(called) if kind == "pool" else tenant_limit(tenant), opens_at)

    def _stand(self, now: float) -> None:
        """Jobs with holds that could not be granted however free their locks were stand in no line.

        Silence is no news: who fell silent since is found when policies were read again, with each sweep.
        """
        ready = self.ready
        asking = ready.new_holding()
        pools = ready.holding_pools()
        for pool in pools:
            version, aside = self.fleet.pool(pool).version, self._is_aside(pool, now)
            before = self._stood.get(pool)
            if before is not None and before[:3] == (version, self.policies, aside):
                continue
            shapes = frozenset(shape for shape in ready.holding_shapes(pool) if self._fits(pool, shape, now))
            self._stood[pool] = _Stood(version, self.policies, aside, shapes)
            if before is None or before[1:] != self._stood[pool][1:]:
                asking += ready.holding(pool)
        for one in dict.fromkeys(asking):
            ready.stand(one, in_line=self._could_be_granted(one, now))
        if len(self._stood) > 2 * len(pools) + 64:
            self._stood = {pool: self._stood[pool] for pool in pools}

    def _could_be_granted(self, asking: Asking, now: float) -> bool:
        """Whether it could be, were its locks free and runners empty."""
        pool, tenant, shape = asking
        stood = self._stood[pool]
        return (
            not stood.aside
            and (shape in stood.shapes or self._fits(pool, shape, now))
            and not self.policies.paused(pool)
            and self.policies.share(tenant, pool).most != 0
        )

    def _fits(self, pool: str, shape: Shape, now: float) -> bool:
        """Whether any runner there is could take such a job, were it empty."""
        silent_before = now - self.fleet.silent_seconds
        return self.fleet.pool(pool).could(shape, closed=self.policies.orders, silent_before=silent_before)

    def _is_aside(self, pool: str, now: float) -> bool:
        """Whether its limit is closed for long. That of a tenant closes all pools, and so all its locks."""
        opens_at = self.turns.opens_at(pool_limit(pool), now)
        return opens_at is not None and opens_at - now > ASIDE_SECONDS
