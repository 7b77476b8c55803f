"""The queue in memory: ready jobs by pool, level, shape and tenant, the oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from penstock.core.lanes import LANES
from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.line import Line
from penstock_services.dispatcher.locks import NOBODY_AGED, Locks

LEVELS: Final = tuple(level for lane in LANES for level in (f"immediate {lane}", lane))
"""In the order in which they are served: of each lane first the short tasks that need no turn."""


class Shape(NamedTuple):
    """What a job asks of a runner. Jobs of a shape fit the same runners, so that only the oldest of each
    needs to be looked at.
    """

    executor: str
    labels: tuple[str, ...]
    cpu: float = 0
    memory: int = 0
    arch: str = ""
    holds: bool = False
    """It asks for locks as well: never granted ahead of a free slot (protocol §3)."""

    @property
    def sized(self) -> bool:
        """Whether it asks for more than a slot."""
        return bool(self.cpu or self.memory)

    def is_smaller(self, other: Shape) -> bool:
        """Whether it can have room where the other has none."""
        return self.cpu < other.cpu or self.memory < other.memory

    @property
    def slots(self) -> float:
        """What it counts for in its tenant's slot-time."""
        return max(1.0, self.cpu)


class Asking(NamedTuple):
    """What decides whether jobs with holds stand in line for them."""

    pool: str
    tenant: str
    shape: Shape


MANY_SHAPES: Final = 1_000
"""So many may be remembered that no job has any more."""

Tenants = dict[str, Line]
Shapes = dict[Shape, Tenants]


def shape_of(job: ReadyJob) -> Shape:
    """The shape of a job."""
    asked = job.resources
    labels = tuple(sorted(job.labels)) if len(job.labels) > 1 else tuple(job.labels)
    if asked is None:
        return Shape(job.executor, labels, holds=bool(job.holds))
    return Shape(job.executor, labels, asked.cpu, asked.memory, asked.arch, bool(job.holds))


class Ready:
    """Ready jobs. Adding a job again changes nothing, so hints and re-reads may overlap.

    Jobs with holds stand in line for them first (`locks`), and among those to be granted only while it is
    their turn; they stand nowhere while they could not be granted (`stand`): they block none.
    """

    def __init__(self) -> None:
        self.locks = Locks()
        self._jobs: dict[str, ReadyJob] = {}
        self._free: dict[str, ReadyJob] = {}
        """Of the jobs with holds, those whose turn it is."""
        self._free_since: dict[str, float] = {}
        self._pools: dict[str, dict[str, Shapes]] = {}
        self._shapes: dict[Shape, Shape] = {}
        self._holding: dict[str, dict[Asking, dict[str, ReadyJob]]] = {}
        """Jobs with holds, by pool."""
        self._open: set[Asking] = set()
        """Those of them that stand in line."""
        self._new: set[Asking] = set()
        """Those of which nobody has said yet whether they do."""

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def get(self, job_id: str) -> ReadyJob | None:
        """The job, while it is ready."""
        return self._jobs.get(job_id)

    def jobs(self) -> list[ReadyJob]:
        """All of them."""
        return list(self._jobs.values())

    def shape(self, job: ReadyJob) -> Shape:
        """Its shape: one object for all jobs of it."""
        shape = shape_of(job)
        return self._shapes.setdefault(shape, shape)

    def add(self, jobs: Iterable[ReadyJob]) -> None:
        """Jobs that became QUEUED; one that is known may have come to a higher lane."""
        for job in jobs:
            known = self._jobs.get(job.job_id)
            if known is not None:
                if LANES.index(job.lane) >= LANES.index(known.lane):
                    continue
                self.remove([job.job_id])
            self._jobs[job.job_id] = job
            shape = self.shape(job)
            if not shape.holds:
                self._line(job, shape, self._jobs).add(job)
                continue
            asking = Asking(job.pool, job.tenant, shape)
            of_pool = self._holding.setdefault(job.pool, {})
            if asking not in of_pool:
                of_pool[asking] = {}
                self._new.add(asking)
            of_pool[asking][job.job_id] = job
            if asking in self._open:
                self.locks.add(job, asking)

    def remove(self, job_ids: Iterable[str], *, claimed: bool = False) -> None:
        """Jobs that were claimed, or are no longer QUEUED."""
        for job_id in job_ids:
            job = self._jobs.pop(job_id, None)
            if job is None:
                continue
            shape = self.shape(job)
            if not shape.holds:
                self._leave(job, shape)
                continue
            self._hold_back(job_id)
            self.locks.remove(job_id, claimed=claimed)
            asking = Asking(job.pool, job.tenant, shape)
            of_pool = self._holding[job.pool]
            del of_pool[asking][job_id]
            if not of_pool[asking]:
                del of_pool[asking]
                self._open.discard(asking)
                self._new.discard(asking)
            if not of_pool:
                del self._holding[job.pool]

    def forget(self, jobs: Iterable[ReadyJob]) -> None:
        """They are not in the queue, but for those that came back since they were looked for."""
        self.remove([job.job_id for job in jobs if self._jobs.get(job.job_id) is job])
        if len(self._shapes) > MANY_SHAPES:
            self._shapes.clear()

    def holding_pools(self) -> list[str]:
        """Pools with jobs that have holds."""
        return list(self._holding)

    def holding(self, pool: str) -> list[Asking]:
        """What the jobs with holds of a pool ask for."""
        return list(self._holding.get(pool, ()))

    def holding_shapes(self, pool: str) -> set[Shape]:
        """Their shapes."""
        return {asking.shape for asking in self._holding.get(pool, ())}

    def new_holding(self) -> list[Asking]:
        """Those of which it was not said yet whether they stand in line."""
        return list(self._new)

    def stand(self, asking: Asking, *, in_line: bool) -> None:
        """Let the jobs with holds that ask for this stand in line, or not."""
        self._new.discard(asking)
        if in_line == (asking in self._open):
            return
        (self._open.add if in_line else self._open.discard)(asking)
        for job_id, job in self._holding[asking.pool][asking].items():
            if in_line:
                self.locks.add(job, asking)
            else:
                self._hold_back(job_id)
                self.locks.remove(job_id)

    def settle(self, now: float, aged_before: datetime = NOBODY_AGED) -> None:
        """See whose turn it is at the locks; `now` is monotonic seconds, for `aged_before` see Locks."""
        free, held_back = self.locks.settle(now, aged_before)
        for job_id in held_back:
            self._hold_back(job_id)
        for job in free:
            self._free[job.job_id] = job
            self._free_since[job.job_id] = now
            self._line(job, self.shape(job), self._free).add(job)

    def free_since(self, job_id: str) -> float | None:
        """Since when it is the turn of a job with holds, monotonic seconds; None for all others."""
        return self._free_since.get(job_id)

    def pools(self) -> list[str]:
        """Pools for which jobs could be granted."""
        return list(self._pools)

    def level(self, pool: str, level: str) -> Mapping[Shape, Tenants]:
        """The jobs of a level by shape and tenant: when a shape finds no room, none of them does."""
        return self._pools.get(pool, {}).get(level, {})

    def _line(self, job: ReadyJob, shape: Shape, present: Mapping[str, ReadyJob]) -> Line:
        tenants = self._pools.setdefault(job.pool, {}).setdefault(_level(job), {}).setdefault(shape, {})
        line = tenants.get(job.tenant)
        if line is None:
            line = tenants[job.tenant] = Line(present)
        return line

    def _leave(self, job: ReadyJob, shape: Shape) -> None:
        """Leave its line, and leave no empty ones behind."""
        levels = self._pools[job.pool]
        shapes = levels[_level(job)]
        tenants = shapes[shape]
        line = tenants[job.tenant]
        line.discard()
        if line.size:
            return
        del tenants[job.tenant]
        if not tenants:
            del shapes[shape]
        if not shapes:
            del levels[_level(job)]
        if not levels:
            del self._pools[job.pool]

    def _hold_back(self, job_id: str) -> None:
        job = self._free.pop(job_id, None)
        if job is not None:
            del self._free_since[job_id]
            self._leave(job, self.shape(job))


def _level(job: ReadyJob) -> str:
    return f"immediate {job.lane}" if job.immediate else job.lane
