"""Whose turn it is at each lock: which waiting jobs could take all that they ask for, were there room.

One rule for locks, groups and max-parallel: a name may be held by a newcomer when the holders and he are no
more than each of them allows. Who waits for a name stands there in one order, the same at all names (lane,
then age); a job may go when at each of its names it would fit behind everybody before it. Nobody holds one
name while it waits for another, but a pipeline its group; and who cannot enter his group keeps nobody back
elsewhere. So no ring of waiting jobs can be.

Nobody starves: of every `age_every` grants of a name the next is owed to the oldest of those that have waited
there for too long; he comes first at all his names, and jobs that need no turn do not pass him either.

What is remembered of holders is a hint: the claim in Postgres decides, and tells of those it found.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Final, NamedTuple

from penstock.core.lanes import LANES
from penstock.events.jobs import ReadyJob

Name = tuple[str, str, str]
"""Tenant, kind and name."""

MOST_AHEAD: Final = 512
"""More than one decision grants: of a name so many jobs that ask the same are let through at a time."""
NOBODY_AGED: Final = datetime.min.replace(tzinfo=UTC)
_OWED: Final = -1
_RANK: Final = {lane: rank for rank, lane in enumerate(LANES)}
_NO_BOUND: Final = 1 << 31
_NOBODY: Final[Set[str]] = frozenset()
_NO_TIMES: Final[Mapping[str, str]] = {}


class Place(NamedTuple):
    """A job's place at one name; sorted by lane, age and id."""

    rank: int
    """Of its lane; less than all: the next grant is owed to it."""
    queued_at: datetime
    job_id: str
    most: int
    holder: str
    name: Name


class Blocked(NamedTuple):
    """What keeps a job back: a name, and who holds it or waits for it first."""

    kind: str
    name: str
    most: int | None
    holder: str
    """The job, of a group the pipeline, that holds it; empty: nobody, but somebody is before it."""
    before: str
    """The job before it in the line; empty: none."""
    since: str = ""
    """Since when it holds it, as Postgres has it; empty: that was not asked for yet."""
    opens_at: float | None = None
    """Monotonic time from when its limit lets another one through."""


class _Line:
    """One name: who holds it, who waits for it, and who of those may go as far as this name is concerned."""

    __slots__ = ("granted", "holders", "inside", "name", "since", "waiting", "wide")

    def __init__(self, name: Name) -> None:
        self.name = name
        self.holders: dict[str, int] = {}
        self.since: Mapping[str, str] = _NO_TIMES
        self.waiting: list[Place] = []
        self.inside: Set[str] = _NOBODY
        self.wide: dict[Hashable, int] = {}
        """How many of the waiting that allow more than MOST_AHEAD ask the same."""
        self.granted = 0
        """How often it was, since it was owed."""


class _Waiter:
    """One waiting job."""

    __slots__ = ("asking", "inside", "job", "overtaken", "places")

    def __init__(self, job: ReadyJob, asking: Hashable) -> None:
        self.job = job
        self.asking = asking
        self.places: list[Place] = []
        self.inside = 0
        """At so many of its names it may go."""
        self.overtaken = 0
        """So many younger jobs took one of its names meanwhile."""


class Locks:
    """All names that a waiting job asks for."""

    def __init__(self) -> None:
        self._lines: dict[Name, _Line] = {}
        self._waiters: dict[str, _Waiter] = {}
        self._immediate: dict[Name, dict[str, None]] = {}
        """Those of the waiting that need no turn."""
        self._closed: dict[Name, float] = {}
        """Until when (monotonic seconds) the limit of a name lets nobody through."""
        self._dirty: set[Name] = set()
        self._moved: set[str] = set()
        self._free: set[str] = set()
        """Jobs that were told to be free to go."""
        self._aged_before = NOBODY_AGED
        self.age_every = 8
        """Of so many grants of a name one may be owed to a job for its age."""
        self.overtaking: Mapping[str, int] = {}
        """By pool: how many younger jobs may take a name before one that waits for another name as well."""

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._waiters

    def add(self, job: ReadyJob, asking: Hashable = None) -> None:
        """A job with holds begins to wait. `asking`: what else it asks for; those that ask the same find room
        together, or none does.
        """
        waiter = self._waiters[job.job_id] = _Waiter(job, asking)
        for name, most in _asked(job):
            line = self._lines.get(name)
            if line is None:
                line = self._lines[name] = _Line(name)
            place = Place(_RANK[job.lane], job.queued_at, job.job_id, most, holder_of(job, name), line.name)
            waiter.places.append(place)
            insort(line.waiting, place)
            if job.immediate:
                self._immediate.setdefault(name, {})[job.job_id] = None
            if most > MOST_AHEAD:
                line.wide[asking] = line.wide.get(asking, 0) + 1
            self._dirty.add(name)

    def remove(self, job_id: str, *, claimed: bool = False) -> None:
        """It waits no more; `claimed`: it holds all its names now."""
        waiter = self._waiters.pop(job_id, None)
        if waiter is None:
            return
        self._free.discard(job_id)
        self._moved.discard(job_id)
        for place in waiter.places:
            name = place.name
            line = self._lines[name]
            at = bisect_left(line.waiting, place)
            if claimed and self.overtaking:
                for passed in line.waiting[:at]:
                    self._waiters[passed.job_id].overtaken += 1
            del line.waiting[at]
            line.inside -= {job_id}
            if waiter.job.immediate:
                del self._immediate[name][job_id]
            if place.most > MOST_AHEAD:
                line.wide[waiter.asking] -= 1
                if not line.wide[waiter.asking]:
                    del line.wide[waiter.asking]
            if claimed:
                line.holders[place.holder] = place.most
                self._granted(name, line)
            self._dirty.add(name)

    def free(self, name: Name, holder: str) -> None:
        """It no longer holds this."""
        line = self._lines.get(name)
        if line is not None and line.holders.pop(holder, None) is not None:
            self._dirty.add(name)

    def held(
        self, name: Name, holders: Mapping[str, int | None], since: Mapping[str, str] = _NO_TIMES
    ) -> None:
        """These and nobody else hold it, as Postgres has it."""
        line = self._lines.get(name)
        if line is not None:
            line.holders = {holder: _NO_BOUND if most is None else most for holder, most in holders.items()}
            line.since = since
            self._dirty.add(name)

    def close(self, name: Name, opens_at: float) -> None:
        """The limit of this name lets nobody through before then (monotonic seconds)."""
        if name in self._lines:
            self._closed[name] = opens_at
            self._dirty.add(name)

    def open_limits(self) -> None:
        """No limit is known to be closed."""
        self._dirty.update(self._closed)
        self._closed.clear()

    def settle(self, now: float, aged_before: datetime = NOBODY_AGED) -> tuple[list[ReadyJob], list[str]]:
        """Jobs that are free to go since the last call, and ids of those that no longer are. Those in the
        queue since before `aged_before` have waited for too long.
        """
        self._aged_before = aged_before
        for name in [name for name, opens_at in self._closed.items() if opens_at <= now]:
            del self._closed[name]
            self._dirty.add(name)
        while self._dirty:
            self._walk(self._dirty.pop())
        self._dirty = set()  # Once there were many, and a set never shrinks.
        freed: list[ReadyJob] = []
        held_back: list[str] = []
        for job_id in sorted(self._moved):
            waiter = self._waiters[job_id]
            goes = waiter.inside == len(waiter.places) or (waiter.job.immediate and self._all_free(waiter))
            if goes and job_id not in self._free:
                self._free.add(job_id)
                freed.append(waiter.job)
            elif not goes and job_id in self._free:
                self._free.discard(job_id)
                held_back.append(job_id)
        self._moved.clear()
        return freed, held_back

    def names(self) -> list[Name]:
        """What is waited for; empty lines are forgotten."""
        for name in [name for name, line in self._lines.items() if not line.waiting]:
            del self._lines[name]
            self._immediate.pop(name, None)
            self._dirty.discard(name)
            self._closed.pop(name, None)
        return list(self._lines)

    def blocked(self, job_id: str) -> Blocked | None:
        """The first of its names that keeps the job back; None: none does, or it does not wait here."""
        waiter = self._waiters.get(job_id)
        if waiter is None or job_id in self._free:
            return None
        for place in waiter.places:
            name = place.name
            line = self._lines[name]
            if job_id in line.inside:
                continue
            at = bisect_left(line.waiting, place)
            holder = next(iter(line.holders), "")
            return Blocked(
                kind=name[1],
                name=name[2],
                most=None if place.most == _NO_BOUND else place.most,
                holder=holder,
                before=line.waiting[at - 1].job_id if at else "",
                since=line.since.get(holder, ""),
                opens_at=self._closed.get(name),
            )
        return None

    def _walk(self, name: Name) -> None:
        """See anew who may go at this name."""
        line = self._lines.get(name)
        if line is None:
            return
        inside = _NOBODY if name in self._closed else self._insiders(name, line)
        for job_id in inside - line.inside:
            self._move(job_id, 1, name)
        for job_id in line.inside - inside:
            self._move(job_id, -1, name)
        line.inside = inside
        self._moved.update(self._immediate.get(name, ()))

    def _insiders(self, name: Name, line: _Line) -> Set[str]:
        """Everybody in turn while the rule holds with all before him; of a group, all of its pipeline.

        Of those that ask the same MOST_AHEAD are enough: more could not be granted at once anyway.
        """
        inside: set[str] = set()
        ahead: dict[Hashable, int] = {}
        short = len(line.wide)
        counted = set(line.holders)
        bound = min(line.holders.values(), default=_NO_BOUND)
        full = False
        for place in line.waiting:
            if place.holder in counted:  # Of a pipeline that has its turn.
                inside.add(place.job_id)
                continue
            full = full or len(counted) >= min(bound, place.most)
            if full:
                if name[1] != "group":
                    break
                continue
            may_be_passed = self._may_be_passed(place.job_id, name)
            if not may_be_passed:
                counted.add(place.holder)
                bound = min(bound, place.most)
            if place.most > MOST_AHEAD and not may_be_passed:
                asking = self._waiters[place.job_id].asking
                so_many = ahead.get(asking, 0) + 1
                if so_many > MOST_AHEAD:
                    continue
                ahead[asking] = so_many
                short -= so_many == min(MOST_AHEAD, line.wide[asking])
            inside.add(place.job_id)
            if line.wide and not short and len(inside) >= MOST_AHEAD:
                break
        return inside or _NOBODY

    def _move(self, job_id: str, step: int, name: Name) -> None:
        waiter = self._waiters[job_id]
        waiter.inside += step
        self._moved.add(job_id)
        if self.overtaking.get(waiter.job.pool) or name[1] == "group":
            # At its other names it may or may not be passed from now on.
            self._dirty.update(place.name for place in waiter.places if place.name != name)

    def _may_be_passed(self, job_id: str, name: Name) -> bool:
        """Whether younger jobs may go before this one: it waits elsewhere, and few have done so; or it cannot
        enter its group. A group is held while its pipeline's jobs wait: they must not wait behind this one.
        """
        waiter = self._waiters[job_id]
        groups = (place.name for place in waiter.places if place.name[1] == "group")
        if any(job_id not in self._lines[group].inside for group in groups):
            return name[1] != "group"
        most = self.overtaking.get(waiter.job.pool, 0)
        if waiter.overtaken >= most:
            return False
        here = job_id in self._lines[name].inside
        return waiter.inside - here < len(waiter.places) - 1

    def _granted(self, name: Name, line: _Line) -> None:
        """It was; the next may be owed to the oldest that waits. Who enters a group first, Postgres says."""
        line.granted += 1
        if line.granted < self.age_every or not line.waiting or name[1] == "group":
            return
        firsts = (bisect_left(line.waiting, rank, key=_rank_of) for rank in _RANK.values())
        places = [line.waiting[at] for at in firsts if at < len(line.waiting)]
        oldest = min(places, key=_age_of, default=None)
        if oldest is None or oldest.queued_at > self._aged_before:
            return
        line.granted = 0
        waiter = self._waiters[oldest.job_id]
        owed = [place._replace(rank=_OWED) for place in waiter.places]
        for before, place in zip(waiter.places, owed, strict=True):
            waiting = self._lines[place.name].waiting
            del waiting[bisect_left(waiting, before)]
            insort(waiting, place)
            self._dirty.add(place.name)
        waiter.places = owed

    def _is_owed(self, name: Name, job_id: str) -> bool:
        """Whether the next grant of the name is owed to another one, who could take it."""
        first = self._lines[name].waiting[0]
        return first.rank == _OWED and first.job_id != job_id and not self._may_be_passed(first.job_id, name)

    def _all_free(self, waiter: _Waiter) -> bool:
        """Whether no holder is in its way, nor who is owed: what it asks of a lock's line is left out."""
        for place in waiter.places:
            name = place.name
            if self._is_owed(name, waiter.job.job_id):
                return False
            holders = self._lines[name].holders
            bound = min(holders.values(), default=_NO_BOUND)
            if name in self._closed or len(holders) + 1 > min(bound, place.most):
                return False
        return True


def holder_of(job: ReadyJob, name: Name) -> str:
    """In whose name the job holds: its own, or its pipeline's in a group."""
    return job.pipeline_id if name[1] == "group" else job.job_id


def names_of(jobs: Iterable[ReadyJob]) -> list[Name]:
    """All names that these jobs ask for, each once."""
    return list(dict.fromkeys((job.tenant, hold.kind, hold.name) for job in jobs for hold in job.holds))


def _rank_of(place: Place) -> int:
    return place.rank


def _age_of(place: Place) -> tuple[datetime, str]:
    return place.queued_at, place.job_id


def _asked(job: ReadyJob) -> list[tuple[Name, int]]:
    return [
        ((job.tenant, hold.kind, hold.name), _NO_BOUND if hold.most is None else hold.most)
        for hold in job.holds
    ]
