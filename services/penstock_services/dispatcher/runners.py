"""Runners and their pools: who could take what, kept so that nobody is looked at in vain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from typing import NamedTuple

from penstock.core.architectures import architecture
from penstock.events.workers import Heartbeat, Offer, WorkerState
from penstock_services.dispatcher.ready import Shape
from penstock_services.dispatcher.shares import Account

Attempt = tuple[str, int]
"""Job and attempt number."""
Kind = tuple[str, str, str]
"""Tenant, pool and executor: jobs of a kind are taken to last about as long."""
Asked = tuple[str, tuple[str, ...], str]
"""What decides whether a runner can ever take a job, its size left out: executor, labels, architecture."""
Left = tuple[float, int]
"""Cores and bytes of memory that a runner has left."""

_numbers = itertools.count()
_versions = itertools.count(1)
HAD_SECONDS = 1.0
"""What a tenant had is reckoned anew so often, or when it changes: meanwhile a quarter of a percent fades."""
IDLE_ACCOUNT = 0.5
"""Slot-seconds below which the account of a tenant that runs nothing is forgotten."""


class Load(NamedTuple):
    """What an attempt takes of its runner."""

    n: int
    """The heartbeat number that its grant echoed."""
    kind: Kind | None = None
    """None: only a heartbeat told of it."""
    cpu: float = 0
    memory: int = 0
    slots: float = 1.0


class Runner:
    """One worker session."""

    def __init__(self, session_id: str, pool: Pool) -> None:
        self.session_id = session_id
        self.number = next(_numbers)
        self.name = ""
        """Its machine's or its own; empty before its first heartbeat."""
        self.slots = 0
        self.rank = 0
        """Attempts held less slots: the least is the runner with most room."""
        self.labels: frozenset[str] = frozenset()
        self.executors: frozenset[str] = frozenset()
        self.arch = ""
        self.cpu = 0.0
        self.memory = 0
        self.state: WorkerState = "IDLE"
        self.n = 0
        """Newest heartbeat or offer number heard; a grant echoes it."""
        self.heard_at = -math.inf
        """Monotonic time at which it was last heard."""
        self.holds: dict[Attempt, Load] = {}
        """Attempts that take a slot or wait for one."""
        self.used_cpu = 0.0
        self.used_memory = 0
        self.ended: dict[Attempt, int] = {}
        """Attempts that an offer ended, until a heartbeat younger than it has come."""
        self.running: frozenset[Attempt] = frozenset()
        """Attempts that were running at the last heartbeat."""
        self.pool = pool
        pool.runners[self.number] = self

    @property
    def left(self) -> Left:
        """Cores and memory that nobody has taken."""
        return round(self.cpu - self.used_cpu, 3), self.memory - self.used_memory

    def can(self, asked: Asked) -> bool:
        """Whether it can run such a job, its size left out."""
        executor, labels, arch = asked
        return (
            self.slots > 0  # One without only supervises.
            and executor in self.executors
            and self.labels.issuperset(labels)
            and (not arch or arch == self.arch)
        )

    def tell(self, news: Heartbeat | Offer) -> None:
        """What it says of itself; only a heartbeat tells its size."""
        before = self._profile()
        self.labels, self.executors = frozenset(news.labels), frozenset(news.executors)
        slots, self.slots = self.slots, news.slots
        if isinstance(news, Heartbeat):
            self.arch = architecture(news.capacity.arch)
            self.cpu, self.memory = news.capacity.cpu, news.capacity.memory
        self.name = news.name or self.name
        self.state = news.state
        if self._profile() != before:
            self._moved(anew=True)
        elif slots != self.slots:
            self._moved()

    def _profile(self) -> tuple[object, ...]:
        return (
            self.labels,
            self.executors,
            self.arch,
            self.cpu,
            self.memory,
            self.slots > 0,
            self.state == "DRAINING",
        )

    def takes_jobs(self) -> bool:
        """Whether it says that it does."""
        return self.state in ("IDLE", "BUSY")

    def is_large_enough(self, shape: Shape) -> bool:
        """Whether a job of the shape has room in it while it is empty."""
        return self.cpu >= shape.cpu and self.memory >= shape.memory

    def take(self, attempt: Attempt, load: Load, now: float) -> None:
        """It holds an attempt, with this load whatever was known of it before."""
        self.drop(attempt, now)
        self.holds[attempt] = load
        self.used_cpu += load.cpu
        self.used_memory += load.memory
        if load.kind is not None:
            self.pool.account(load.kind[0], now).change(1, load.slots, now)
        self._moved()

    def drop(self, attempt: Attempt, now: float) -> Load | None:
        """It holds an attempt no more; None: it did not."""
        load = self.holds.pop(attempt, None)
        if load is None:
            return None
        self.used_cpu = self.used_cpu - load.cpu if self.holds else 0.0
        self.used_memory -= load.memory
        if load.kind is not None:
            self.pool.account(load.kind[0], now).change(-1, -load.slots, now)
        self._moved()
        return load

    def _moved(self, *, anew: bool = False) -> None:
        self.rank = len(self.holds) - self.slots
        self.pool.changed(self, anew=anew)

    def leave(self, now: float) -> None:
        """It is gone."""
        for attempt in list(self.holds):
            self.drop(attempt, now)
        del self.pool.runners[self.number]
        self.pool.changed(self, anew=True)

    def move(self, pool: Pool, now: float) -> None:
        """It came back in another pool."""
        holds = dict(self.holds)
        self.leave(now)
        self.pool = pool
        pool.runners[self.number] = self
        pool.changed(self, anew=True)
        for attempt, load in holds.items():
            self.take(attempt, load, now)


class Fit:
    """The runners of a pool that can take jobs of one kind, by how full they are."""

    __slots__ = ("_asked", "_at", "members", "ranks", "stale")

    def __init__(self, asked: Asked | None, runners: dict[int, Runner]) -> None:
        self._asked = asked
        """None: any job at all."""
        self.members: dict[int, Runner] = {}
        self.ranks: dict[int, dict[Left, dict[int, Runner]]] = {}
        """Runners by rank and by what they have left."""
        self._at: dict[int, tuple[int, Left]] = {}
        self.stale = dict(runners)
        """Those that have changed since `settle`."""

    def settle(self, runners: dict[int, Runner]) -> None:
        """See anew where those stand that have changed; `runners`: all that are in the pool."""
        for number, runner in self.stale.items():
            at = (runner.rank, runner.left) if number in runners and self._takes(runner) else None
            before = self._at.get(number)
            if at == before:
                continue
            if before is not None:
                self._leave(number, *before)
            if at is not None:
                self._at[number] = at
                self.members[number] = runner
                self.ranks.setdefault(at[0], {}).setdefault(at[1], {})[number] = runner
        self.stale.clear()

    def _takes(self, runner: Runner) -> bool:
        return runner.can(self._asked) if self._asked else runner.slots > 0

    def _leave(self, number: int, rank: int, left: Left) -> None:
        del self._at[number], self.members[number]
        alike = self.ranks[rank][left]
        del alike[number]
        if not alike:
            del self.ranks[rank][left]
        if not self.ranks[rank]:
            del self.ranks[rank]

    def emptiest_first(self, cpu: float = 0, memory: int = 0) -> Iterator[Runner]:
        """Those that have so much left, or all for nothing; nothing may change meanwhile."""
        for rank in sorted(self.ranks):
            for left, runners in self.ranks[rank].items():
                if not (cpu or memory) or (left[0] >= cpu and left[1] >= memory):
                    yield from runners.values()


class Pool:
    """The runners of one pool, and what each tenant has of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runners: dict[int, Runner] = {}
        self.version = 0
        """Another one whenever what its runners can do changes; no two pools ever had the same, but 0."""
        self.sought_at = -math.inf
        """When jobs were last looked for that have found no room for long; monotonic seconds."""
        self._fits: dict[Asked | None, Fit] = {}
        self._accounts: dict[str, Account] = {}
        self._had: dict[str, float] = {}
        """What tenants had, some of it as it was up to HAD_SECONDS ago."""
        self._had_at = -math.inf
        self._had_changed: set[str] = set()
        self._kept: dict[str, tuple[Runner, float]] = {}

    def changed(self, runner: Runner, *, anew: bool = False) -> None:
        """A runner's rank or what it has left did, or (`anew`) what it can do."""
        if anew:
            self.version = next(_versions)
        for fit in self._fits.values():
            fit.stale[runner.number] = runner

    def fit(self, shape: Shape) -> Fit:
        """Those that can take a job of the shape, its size left out."""
        return self._fit((shape.executor, shape.labels, shape.arch))

    def everyone(self) -> Fit:
        """Those that take any job at all."""
        return self._fit(None)

    def _fit(self, asked: Asked | None) -> Fit:
        fit = self._fits.get(asked)
        if fit is None:
            fit = self._fits[asked] = Fit(asked, self.runners)
        if fit.stale:
            fit.settle(self.runners)
        return fit

    def could(self, shape: Shape, *, closed: Collection[str] = (), silent_before: float = -math.inf) -> bool:
        """Whether any of its runners could take such a job, were it empty; `closed`: names of runners that
        take nothing by order, `silent_before`: nor do those not heard of since then (monotonic seconds).
        """
        return any(
            runner.takes_jobs()
            and runner.heard_at >= silent_before
            and runner.name not in closed
            and runner.is_large_enough(shape)
            for runner in self.fit(shape).members.values()
        )

    def keep(self, job_id: str, runner: Runner, until: float) -> None:
        """The runner is emptied for a job: it takes no other before then (monotonic seconds)."""
        self._kept[job_id] = runner, until

    def let_go(self, job_id: str) -> None:
        """The job needs no runner emptied any more."""
        self._kept.pop(job_id, None)

    def kept(self, now: float) -> dict[str, Runner]:
        """Runners that are being emptied, by the job."""
        if not self._kept:
            return {}
        return {
            job_id: runner
            for job_id, (runner, until) in self._kept.items()
            if until > now and runner.number in self.runners
        }

    def had(self, now: float) -> dict[str, float]:
        """What each tenant had of the pool and has of it now, as far as it had anything: slot-seconds."""
        if now - self._had_at >= HAD_SECONDS:
            self._had = {tenant: account.had(now) for tenant, account in self._accounts.items()}
            self._had_at = now
        else:
            self._had |= {tenant: self._accounts[tenant].had(now) for tenant in self._had_changed}
        self._had_changed.clear()
        return self._had

    def attempts(self, tenant: str) -> int:
        """How many a tenant has in the pool."""
        account = self._accounts.get(tenant)
        return account.attempts if account else 0

    def account(self, tenant: str, now: float) -> Account:
        """The account of a tenant, to change it; opened where there is none."""
        self._had_changed.add(tenant)
        found = self._accounts.get(tenant)
        if found is None:
            found = self._accounts[tenant] = Account(now)
        return found

    def is_idle(self) -> bool:
        """Whether there is nothing to remember of it."""
        return not (self.runners or self._accounts or self._kept)

    def knows(self, tenant: str) -> bool:
        """Whether the tenant has had something of it of late."""
        return tenant in self._accounts

    def forget_idle(self, now: float) -> None:
        """Drop accounts that make no difference any more, and what is known of very many shapes."""
        self._kept = {job_id: kept for job_id, kept in self._kept.items() if kept[1] > now}
        for tenant, account in list(self._accounts.items()):
            if not account.attempts and account.used(now) < IDLE_ACCOUNT:
                del self._accounts[tenant]
                self._had.pop(tenant, None)
                self._had_changed.discard(tenant)
        if len(self._fits) > 1000:
            self._fits.clear()
