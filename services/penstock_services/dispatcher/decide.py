"""Which job goes to which runner: pure, one pass over what is ready and who is free (design §6).

In a pool: short immediate tasks first, then tenants below what they are guaranteed, then the lanes strictly
one after the other. Within a lane the tenant that had the least slot-time for its weight comes first, and of
its jobs the oldest that finds room.

Lower lanes do not starve: of every `age_every` grants of a pool one goes to a job of a lower lane that has
waited for `age_seconds`, tenants in turn, of each the oldest. So a job that fits a free runner waits, from
then on, for no more than age_every * (tenants with such jobs) * (older such jobs of its tenant + 1) grants of
its pool, whatever comes in above it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from penstock.core.lanes import LANES, Lane
from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.fleet import Fleet
from penstock_services.dispatcher.locks import Name
from penstock_services.dispatcher.policies import ANY, Policies
from penstock_services.dispatcher.ready import IMMEDIATE, LEVELS, Ready, Shape, Shapes
from penstock_services.dispatcher.room import Room
from penstock_services.dispatcher.runners import Kind, Runner
from penstock_services.dispatcher.turns import Turns

UNKNOWN_SECONDS: Final = 1.0
"""What a job is taken to last before any of its kind was measured."""
SHORTEST_SECONDS: Final = 0.05
"""What the shortest ones count for in a decision."""

Aged = tuple[int, datetime, Lane, str]
"""Of a tenant whose jobs waited for too long: its turn, since when the oldest waits, its lane, the tenant."""


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
    decision = Decision([], [], [])
    for pool in pools:
        if len(decision.choices) >= scene.policy.limit:
            break
        if not scene.policies.paused(pool) and scene.turns.opens_at(pool_limit(pool), scene.now) is None:
            _Pass(scene, pool, decision).run()
    return decision


def pool_limit(pool: str) -> Name:
    """Under which name the limit of a pool is kept."""
    return "*", "pool", pool


def tenant_limit(tenant: str) -> Name:
    """Under which name the limit of a tenant is kept."""
    return tenant, "tenant", tenant


def quotas_of(tenant: str, pool: str) -> tuple[Name, Name]:
    """Under which names a full quota of a tenant is kept: of the pool, and of all pools."""
    return (tenant, "running", pool), (tenant, "running", ANY)


class _Heads:
    """The jobs of a tenant in one level, the oldest first, without those of shapes that found no room."""

    __slots__ = ("_heap", "_lines")

    def __init__(self, shapes: Shapes) -> None:
        self._lines: list[Iterator[ReadyJob]] = []
        self._heap: list[tuple[datetime, str, int, Shape, ReadyJob]] = []
        for shape, line in shapes.items():
            self._lines.append(iter(line))
            self._push(len(self._lines) - 1, shape)

    def peek(self) -> tuple[Shape, ReadyJob] | None:
        """The oldest; None: there is none left."""
        return self._heap[0][3:] if self._heap else None

    def take(self) -> None:
        """Go on behind it."""
        _, _, line, shape, _ = heapq.heappop(self._heap)
        self._push(line, shape)

    def pass_over(self) -> None:
        """Leave out its shape."""
        heapq.heappop(self._heap)

    def _push(self, line: int, shape: Shape) -> None:
        job = next(self._lines[line], None)
        if job is not None:
            heapq.heappush(self._heap, (job.queued_at, job.job_id, line, shape, job))


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
        self._heads: dict[tuple[str, str], _Heads] = {}
        self._full: set[tuple[Shape, float]] = set()
        """Shapes that find no room, and how far ahead of it they may be granted."""
        self._given: dict[str, tuple[int, float]] = {}
        """By tenant: attempts and slot-seconds that this decision adds."""
        self._used: dict[str, float] | None = None
        self._since_aged = scene.turns.since_aged(pool)
        self._aged: list[Aged] | None = None
        self._turn = itertools.count(scene.turns.count + 1)
        self._shapes: set[Shape] = set()
        """Shapes that were looked at."""
        self._large: list[tuple[float, str, ReadyJob, Shape]] = []
        """Jobs that have found no room for long."""

    def run(self) -> None:
        """Add its choices to the decision."""
        self._serve(IMMEDIATE)
        self._serve_minimums()
        for lane in LANES:
            self._serve(lane)
        self._keep_room()

    def _serve(self, level: str) -> None:
        """Grant the jobs of a level, to the tenant that had least for its weight first."""
        waiting = self._scene.ready.level(self._pool, level)
        if not waiting or self._room.is_full(self._most_ahead()):
            return
        tenants = [(self._had(tenant), tenant) for tenant in waiting]
        heapq.heapify(tenants)
        while tenants and len(self._choices) < self._scene.policy.limit:
            if self._since_aged + 1 >= self._scene.policy.age_every:
                self._serve_aged(level)
            tenant = tenants[0][1]
            if self._grant_one(level, tenant):
                heapq.heapreplace(tenants, (self._had(tenant), tenant))
            else:
                heapq.heappop(tenants)

    def _serve_minimums(self) -> None:
        for tenant in self._scene.policies.with_minimum(self._pool):
            minimum = self._scene.policies.share(tenant, self._pool).minimum
            while self._runs(tenant) < minimum and any(self._grant_one(lane, tenant) for lane in LANES):
                pass

    def _serve_aged(self, level: str) -> None:
        """Grant one job of a lane below the level that waited for too long, if there is one."""
        below: list[Lane] = [lane for lane in LANES if LEVELS.index(lane) > LEVELS.index(level)]
        if self._aged is None:
            self._aged = self._find_aged(below)
            heapq.heapify(self._aged)
        while self._aged:
            turn, _, lane, tenant = heapq.heappop(self._aged)
            if not self._is_open(tenant):
                continue
            granted = self._grant_one(lane, tenant, aged=True)
            heads: list[tuple[datetime, Lane]] = [
                (head[1].queued_at, lane) for lane in below if (head := self._heads_of(lane, tenant).peek())
            ]
            if heads and (first := min(heads))[0] <= self._aged_since:
                heapq.heappush(self._aged, (next(self._turn) if granted else turn, *first, tenant))
            if granted:
                return

    def _find_aged(self, lanes: list[Lane]) -> list[Aged]:
        """The turns of tenants with jobs in these lanes that waited for too long."""
        turns, now = self._scene.turns, self._scene.now
        if not turns.may_be_aged(self._pool, now):
            return []
        oldest: dict[str, tuple[datetime, Lane]] = {}
        for lane in lanes:
            for tenant, shapes in self._scene.ready.level(self._pool, lane).items():
                first = min(line.first().queued_at for line in shapes.values())
                if first <= self._aged_since and (tenant not in oldest or (first, lane) < oldest[tenant]):
                    oldest[tenant] = first, lane
        if not oldest:
            self._decision.none_aged.append(self._pool)
        return [(turns.served(self._pool, tenant), *found, tenant) for tenant, found in oldest.items()]

    def _grant_one(self, level: str, tenant: str, *, aged: bool = False) -> bool:
        """Grant the oldest job of the tenant in the level that finds room; whether there was one."""
        if not self._is_open(tenant) or len(self._choices) >= self._scene.policy.limit:
            return False
        heads = self._heads_of(level, tenant)
        while (head := heads.peek()) is not None:
            shape, job = head
            self._shapes.add(shape)
            ahead = self._ahead(shape, job)
            if (shape, ahead) not in self._full or self._room.is_kept(job):
                runner = self._room.take(job, shape, ahead)
                if runner is not None:
                    heads.take()
                    self._choose(Choice(job, shape, runner, aged))
                    return True
                self._full.add((shape, ahead))
            if shape.sized:
                self._note_large(job, shape)
            heads.pass_over()
        return False

    def _choose(self, choice: Choice) -> None:
        self._choices.append(choice)
        self._since_aged = 0 if choice.aged else self._since_aged + 1
        tenant = choice.job.tenant
        attempts, seconds = self._given.get(tenant, (0, 0.0))
        lasts = self._scene.fleet.durations.get(_kind(choice.job), UNKNOWN_SECONDS)
        self._given[tenant] = attempts + 1, seconds + choice.shape.slots * max(lasts, SHORTEST_SECONDS)

    def _note_large(self, job: ReadyJob, shape: Shape) -> None:
        queued_at = job.queued_at.timestamp()
        if self._scene.wall - queued_at >= self._scene.policy.reserve_seconds:
            self._large.append((queued_at, job.job_id, job, shape))

    def _keep_room(self) -> None:
        """Have runners emptied for jobs from which smaller ones would take each bit of room as it comes."""
        for _, _, job, shape in sorted(self._large):
            if any(other.is_smaller(shape) for other in self._shapes):
                runner = self._room.empty_for(job, shape)
                if runner is not None:
                    self._decision.kept.append((job.job_id, runner))

    def _heads_of(self, level: str, tenant: str) -> _Heads:
        heads = self._heads.get((level, tenant))
        if heads is None:
            shapes = self._scene.ready.level(self._pool, level).get(tenant, {})
            heads = self._heads[level, tenant] = _Heads(shapes)
        return heads

    def _had(self, tenant: str) -> float:
        """Slot-seconds of the tenant, this decision's included, for its weight."""
        if self._used is None:
            self._used = self._fleet_pool.used(self._scene.now)
        used = self._used.get(tenant, 0.0)
        given = self._given.get(tenant)
        if given is not None:
            used += given[1]
        return used / self._scene.policies.share(tenant, self._pool).weight if used else 0.0

    def _runs(self, tenant: str) -> int:
        return self._fleet_pool.attempts(tenant) + self._given.get(tenant, (0, 0.0))[0]

    def _is_open(self, tenant: str) -> bool:
        """Whether its quotas and limits, as far as they are known, let another one through."""
        most = self._scene.policies.share(tenant, self._pool).most
        if most is not None and self._runs(tenant) >= most:
            return False
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

    def _most_ahead(self) -> float:
        """The farthest that any job of the pool may be granted ahead."""
        if not self._room.is_full(0.0):
            return 0.0
        means = (mean for kind, mean in self._scene.fleet.durations.items() if kind[1] == self._pool)
        return self._ahead_of(min(means, default=None))


def _kind(job: ReadyJob) -> Kind:
    return job.tenant, job.pool, job.executor
