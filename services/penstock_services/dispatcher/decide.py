"""Which job goes to which runner: pure, one pass over what is ready and who is free (design §6).

In a pool: jobs for which a runner was emptied, tenants below what they are guaranteed, then the lanes
strictly one after the other, in each the short immediate tasks first. Within a lane the tenant that had the
least slot-time for its weight comes first, and of its jobs the oldest that finds room.

Nobody starves who comes later in that: of every `age_every` grants of a pool one goes to a job of those
that has waited for `age_seconds`, tenants in turn, of each the oldest. So a job that fits a free runner
waits, from then on, for no more than age_every * (tenants with such jobs) * (older such jobs of its tenant
+ 1) grants of its pool, whatever comes in above it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple, TypeVar

from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.fleet import Fleet
from penstock_services.dispatcher.heads import Heads
from penstock_services.dispatcher.policies import Policies
from penstock_services.dispatcher.ready import LEVELS, Ready, Shape, Tenants
from penstock_services.dispatcher.room import Room
from penstock_services.dispatcher.runners import Kind, Runner
from penstock_services.dispatcher.shares import HELD_SECONDS
from penstock_services.dispatcher.turns import Turns, pool_limit, quotas_of, tenant_limit

SEEK_SECONDS: Final = 1.0
"""How often large jobs are looked for that have found no room for long."""
EMPTIED_A_LOOK: Final = 4
"""For so many of them at most a runner begins to be emptied each time."""

Rank = TypeVar("Rank", int, float)
Open = list[tuple[Shape, Tenants]]
"""The shapes of a level that find room, and who has jobs of them."""


class Policy(NamedTuple):
    """How far the dispatcher may go."""

    limit: int = 256
    """Most grants of one decision."""
    lookahead_jobs: int = 512
    """Most jobs a runner may hold beyond its slots."""
    lookahead_seconds: float = 0.25
    """For so long may the jobs that wait at a runner keep its slots busy."""
    age_seconds: float = 300.0
    """A job of a lower lane that waited for so long gets its part of the grants."""
    age_every: int = 8
    """One of so many."""
    reserve_seconds: float = 60.0
    """A job that asks for cores or memory and waited for so long gets a runner emptied for it."""


class Choice(NamedTuple):
    """One job for one session."""

    job: ReadyJob
    shape: Shape
    runner: Runner
    aged: bool = False
    """It went before jobs of higher lanes, because it had waited for so long."""


class Decision(NamedTuple):
    """What to grant, and which runners to empty for which jobs."""

    choices: list[Choice]
    kept: list[tuple[str, Runner]]
    """Job id and runner."""
    none_aged: list[str]
    """Pools in which no job was found that waits for too long."""
    sought: list[str]
    """Pools in which large jobs were looked for that have found no room for long."""


class Scene(NamedTuple):
    """All that a decision looks at; it changes none of it."""

    ready: Ready
    fleet: Fleet
    policies: Policies
    policy: Policy
    turns: Turns
    now: float
    """Monotonic seconds."""
    wall: float
    """Unix seconds."""


def decide(scene: Scene, pools: Sequence[str]) -> Decision:
    """Grants for the ready jobs of `pools`, at most `policy.limit`.

    A shape that finds no room does not hold up others.
    """
    decision = Decision([], [], [], [])
    for pool in pools:
        if len(decision.choices) >= scene.policy.limit:
            break
        if not scene.policies.paused(pool) and scene.turns.opens_at(pool_limit(pool), scene.now) is None:
            _Pass(scene, pool, decision).run()
    return decision


class _Pass:
    """The part of a decision that is about one pool."""

    def __init__(self, scene: Scene, pool: str, decision: Decision) -> None:
        self._scene = scene
        self._pool = pool
        self._decision = decision
        self._choices = decision.choices
        self._aged_since = datetime.fromtimestamp(scene.wall, UTC) - timedelta(
            seconds=scene.policy.age_seconds
        )
        self._fleet_pool = scene.fleet.pool(pool)
        self._room = Room(
            self._fleet_pool,
            closed=frozenset(scene.policies.orders),
            now=scene.now,
            silent_seconds=scene.fleet.silent_seconds,
            most_ahead=scene.policy.lookahead_jobs,
        )
        self._open: dict[str, Open] = {}
        self._heads: dict[tuple[str, str], Heads] = {}
        self._taken: set[str] = set()
        """Jobs that go."""
        self._full: set[tuple[Shape, float]] = set()
        """Shapes that find no room, and how far ahead of it they may be granted."""
        self._given: dict[str, tuple[int, float]] = {}
        """By tenant: attempts and slots that this decision adds."""
        self._used = self._fleet_pool.had(scene.now)
        self._since_aged = scene.turns.since_aged(pool)
        self._aged: list[tuple[int, str]] | None = None
        """Tenants that may have jobs that wait for too long, by their turn."""
        self._all_open = scene.turns.all_open()
        self._turn = itertools.count(scene.turns.count + 1)

    def run(self) -> None:
        """Add its choices to the decision."""
        self._serve_kept()
        self._serve_minimums()
        for at, level in enumerate(LEVELS):
            self._serve(level, LEVELS[at + 1 :])
        if self._scene.now - self._fleet_pool.sought_at >= SEEK_SECONDS:
            self._keep_room()

    def _serve_kept(self) -> None:
        """Grant the jobs for which a runner was emptied, or go on emptying it while they could be granted."""
        for job_id in self._room.kept:
            job = self._scene.ready.get(job_id)
            if job is None or not self._may_go(job) or len(self._choices) >= self._scene.policy.limit:
                continue
            shape = self._scene.ready.shape(job)
            runner = self._room.take_kept(job_id, shape)
            if runner is None:
                self._decision.kept.append((job_id, self._room.kept[job_id]))
            else:
                self._choose(Choice(job, shape, runner))

    def _serve(self, level: str, below: Sequence[str]) -> None:
        """Grant the jobs of a level, to the tenant that had least for its weight first."""
        if self._is_full():
            return
        tenants = [(self._had(tenant), tenant) for tenant in self._with_room([level])]
        heapq.heapify(tenants)
        many = len(self._open_of(level))
        while tenants and len(self._choices) < self._scene.policy.limit:
            self._serve_aged(below)
            tenant = tenants[0][1]
            if self._grant_one(level, tenant):
                heapq.heapreplace(tenants, (self._had(tenant), tenant))
                continue
            if self._is_full():
                return
            heapq.heappop(tenants)
            if len(self._open_of(level)) < many:
                many = len(self._open_of(level))
                tenants = _those_of(self._with_room([level]), tenants)

    def _serve_minimums(self) -> None:
        """Grant the jobs of those that have less than they are guaranteed, to who lacks most of it first."""
        policies, pool = self._scene.policies, self._pool
        lacking = [
            (lack, tenant)
            for tenant in policies.with_minimum(pool)
            if (lack := self._runs(tenant) - policies.share(tenant, pool).minimum) < 0
        ]
        if not lacking or self._is_full():
            return
        heapq.heapify(lacking)
        while lacking and len(self._choices) < self._scene.policy.limit:
            self._serve_aged(LEVELS)
            lack, tenant = lacking[0]
            granted = any(self._grant_one(level, tenant) for level in LEVELS)
            if granted and lack < -1:
                heapq.heapreplace(lacking, (lack + 1, tenant))
            else:
                heapq.heappop(lacking)
        self._aged = None  # They were those of all levels.

    def _serve_aged(self, below: Sequence[str]) -> None:
        """Grant one job of the levels below that waited for too long, if it is time and there is one."""
        if self._since_aged + 1 < self._scene.policy.age_every:
            return
        if self._aged is None:
            self._aged = self._find_aged(below)
        while self._aged:
            _, tenant = self._aged[0]
            level = self._oldest_aged(tenant, below)
            if level is None:
                heapq.heappop(self._aged)
            elif self._grant_one(level, tenant, aged=True):
                heapq.heapreplace(self._aged, (next(self._turn), tenant))
                return

    def _find_aged(self, levels: Sequence[str]) -> list[tuple[int, str]]:
        """The turns of all tenants with jobs in these levels, if there are any that waited for too long."""
        turns, ready, pool = self._scene.turns, self._scene.ready, self._pool
        if not turns.may_be_aged(pool, self._scene.now):
            return []
        lines = (line for level in levels for of in ready.level(pool, level).values() for line in of.values())
        if not any(line.oldest.queued_at <= self._aged_since for line in lines):
            self._decision.none_aged.append(pool)
            return []
        found = [(turns.served(pool, tenant), tenant) for tenant in self._with_room(levels)]
        heapq.heapify(found)
        return found

    def _oldest_aged(self, tenant: str, levels: Sequence[str]) -> str | None:
        """The level of the tenant's oldest job, if that waited for too long and may find room."""
        if not self._is_open(tenant):
            return None
        heads = ((self._heads_of(level, tenant).peek(), level) for level in levels)
        oldest = min(((head[1].queued_at, level) for head, level in heads if head), default=None)
        return oldest[1] if oldest and oldest[0] <= self._aged_since else None

    def _grant_one(self, level: str, tenant: str, *, aged: bool = False) -> bool:
        """Grant the oldest job of the tenant in the level that finds room; whether there was one."""
        if not self._is_open(tenant) or len(self._choices) >= self._scene.policy.limit:
            return False
        heads = self._heads_of(level, tenant)
        while (head := heads.peek()) is not None:
            shape, job = head
            ahead = self._ahead(shape, job)
            if (shape, ahead) not in self._full:
                runner = self._room.take(shape, ahead)
                if runner is not None:
                    self._choose(Choice(job, shape, runner, aged))
                    return True
                self._full.add((shape, ahead))
                if ahead >= self._most_ahead(shape):
                    self._close(shape)
            heads.pass_over()
        return False

    def _choose(self, choice: Choice) -> None:
        self._choices.append(choice)
        self._taken.add(choice.job.job_id)
        self._since_aged = 0 if choice.aged else self._since_aged + 1
        attempts, slots = self._given.get(choice.job.tenant, (0, 0.0))
        self._given[choice.job.tenant] = attempts + 1, slots + choice.shape.slots

    def _keep_room(self) -> None:
        """Have runners emptied for large jobs from which smaller ones take each bit of room as it comes."""
        self._decision.sought.append(self._pool)
        large, shapes = self._find_large()
        kept = 0
        for _, _, job, shape in large:
            if kept == EMPTIED_A_LOOK:
                return
            if (
                any(other.is_smaller(shape) for other in shapes)
                and self._may_go(job)
                and not self._room.has_room(shape, 0.0)
            ):
                runner = self._room.empty_for(job, shape)
                if runner is not None:
                    self._decision.kept.append((job.job_id, runner))
                    kept += 1

    def _find_large(self) -> tuple[list[tuple[datetime, str, ReadyJob, Shape]], set[Shape]]:
        """Of each tenant and shape the oldest job that asks for more than a slot and waited for long, sorted,
        without those that go; and the shapes of all jobs.
        """
        since = datetime.fromtimestamp(self._scene.wall - self._scene.policy.reserve_seconds, UTC)
        going = self._taken | self._room.kept.keys()
        large: list[tuple[datetime, str, ReadyJob, Shape]] = []
        seen: set[Shape] = set()
        for level in LEVELS:
            for shape, tenants in self._scene.ready.level(self._pool, level).items():
                seen.add(shape)
                for line in tenants.values() if shape.sized else ():
                    job = line.oldest
                    if job.queued_at <= since and job.job_id not in going:
                        large.append((job.queued_at, job.job_id, job, shape))
        return sorted(large), seen

    def _may_go(self, job: ReadyJob) -> bool:
        """Whether nothing but room is missing, as far as is known."""
        ready = self._scene.ready
        return self._is_open(job.tenant) and (not job.holds or ready.free_since(job.job_id) is not None)

    def _open_of(self, level: str) -> Open:
        """Shapes that are full already when their level comes need not be looked at for each tenant."""
        found = self._open.get(level)
        if found is None:
            shapes = self._scene.ready.level(self._pool, level).items()
            found = self._open[level] = [
                (shape, tenants)
                for shape, tenants in shapes
                if self._room.has_room(shape, self._most_ahead(shape))
            ]
        return found

    def _close(self, shape: Shape) -> None:
        """It finds no room any more, whosever the job is."""
        for level, shapes in self._open.items():
            self._open[level] = [entry for entry in shapes if entry[0] != shape]
        if self._aged:
            self._aged = _those_of(self._with_room(self._open), self._aged)

    def _with_room(self, levels: Iterable[str]) -> set[str]:
        """Tenants with jobs in these levels that may find room."""
        return set().union(*(tenants for level in levels for _, tenants in self._open_of(level)))

    def _heads_of(self, level: str, tenant: str) -> Heads:
        heads = self._heads.get((level, tenant))
        if heads is None:
            lines = [
                (shape, line)
                for shape, tenants in self._open_of(level)
                if (line := tenants.get(tenant)) is not None
            ]
            heads = self._heads[level, tenant] = Heads(lines, self._taken)
        return heads

    def _had(self, tenant: str) -> float:
        """Slot-seconds of the tenant, this decision's included, for its weight."""
        used = self._used.get(tenant, 0.0)
        if tenant in self._given:
            used += self._given[tenant][1] * HELD_SECONDS
        return used / self._scene.policies.share(tenant, self._pool).weight if used else 0.0

    def _runs(self, tenant: str) -> int:
        return self._fleet_pool.attempts(tenant) + self._given.get(tenant, (0, 0.0))[0]

    def _is_open(self, tenant: str) -> bool:
        """Whether its quotas and limits, as far as they are known, let another one through."""
        most = self._scene.policies.share(tenant, self._pool).most
        if most is not None and self._runs(tenant) >= most:
            return False
        if self._all_open:
            return True
        names = (tenant_limit(tenant), *quotas_of(tenant, self._pool))
        return all(self._scene.turns.opens_at(name, self._scene.now) is None for name in names)

    def _ahead(self, shape: Shape, job: ReadyJob) -> float:
        """So many times its slots may a runner hold beyond them: as many short jobs as run off meanwhile.

        In-flight grants, not CPU, bound the rate of short jobs: 8 slots and a round trip of 5 ms are
        1,600 jobs a second at best (facts §12).
        """
        if shape.holds or shape.sized or self._scene.policies.is_limited(job.tenant, self._pool):
            return 0.0
        return self._ahead_of(self._scene.fleet.durations.get(_kind(job)))

    def _ahead_of(self, mean: float | None) -> float:
        if mean is None or mean > self._scene.policy.lookahead_seconds:
            return 0.0
        return self._scene.policy.lookahead_seconds / max(mean, 0.0001)

    def _most_ahead(self, shape: Shape) -> float:
        """As far ahead as any tenant's job of the shape may be granted."""
        return 0.0 if shape.holds or shape.sized else self._farthest_ahead

    @cached_property
    def _farthest_ahead(self) -> float:
        means = (mean for kind, mean in self._scene.fleet.durations.items() if kind[1] == self._pool)
        return self._ahead_of(min(means, default=None))

    def _is_full(self) -> bool:
        """Whether there is room for none, not even as far ahead as any job of the pool may be granted."""
        return self._room.is_full(0.0) and self._room.is_full(self._farthest_ahead)


def _those_of(tenants: Set[str], heap: list[tuple[Rank, str]]) -> list[tuple[Rank, str]]:
    """The heap without all others."""
    left = [entry for entry in heap if entry[1] in tenants]
    heapq.heapify(left)
    return left


def _kind(job: ReadyJob) -> Kind:
    return job.tenant, job.pool, job.executor
