"""Which reasons to wait have changed since they were told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Set
from operator import attrgetter
from typing import Final

from penstock.core.waiting import NO_MORE, Why
from penstock.events.jobs import JobWaiting, ReadyJob
from penstock_services.dispatcher.decide import Scene
from penstock_services.dispatcher.explain import Explainer
from penstock_services.dispatcher.ready import Ready

LOOKED_AT: Final = 20_000
"""Jobs whose reason is looked for in one sweep, of a longer queue in turns."""
LOOK: Final = 1_000
"""So many of them at a time."""
TOLD_AT_ONCE: Final = 250
"""Reasons that are written at a time; the others follow with the next sweeps."""
NEW_SECONDS: Final = 1.0
"""Nobody asks why a job waits that only just came."""
VOLATILE: Final = frozenset({"held_by", "since", "behind", "running", "opens_at"})
"""What of a reason moves all the time and is no news; who holds a lock is looked up when somebody asks."""
_BEFORE: Final = Why("queue", "told by another dispatcher")
"""Stands for what is written of a job and is not known here: never the same as what is found."""


class Telling:
    """Remembers what was told of each job that waits for a reason of its own."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[ReadyJob, Why]] = {}
        self._at = 0

    def looks(self, jobs: int) -> int:
        """How often `changed` is to be asked in a sweep when so many are ready."""
        return math.ceil(min(jobs, LOOKED_AT) / LOOK)

    def changed(self, scene: Scene) -> list[tuple[ReadyJob, Why | None]]:
        """Of the next jobs those whose reason is not what was told; None: only those before it."""
        explainer = Explainer(scene)
        found: list[tuple[ReadyJob, Why | None]] = []
        jobs = scene.ready.jobs()
        begin = self._at % len(jobs) if jobs else 0
        for nth in range(min(len(jobs), LOOK)):
            job = jobs[(begin + nth) % len(jobs)]
            self._at = begin + nth + 1
            if scene.wall - job.queued_at.timestamp() < NEW_SECONDS:
                continue
            why = explainer.why(job)
            before, told = self._told.get(job.job_id, (job, None))
            if before.queued_at != job.queued_at:
                told = None  # It came back into the queue, where nothing is told of it yet.
            if not _same(why, told):
                found.append((job, why))
                if len(found) == TOLD_AT_ONCE:
                    break
        for job_id in [job_id for job_id in self._told if job_id not in scene.ready]:
            del self._told[job_id]
        return found

    def told(self, reasons: Iterable[tuple[ReadyJob, Why | None]]) -> None:
        """These were told."""
        for job, why in reasons:
            if why is None:
                self._told.pop(job.job_id, None)
            else:
                self._told[job.job_id] = job, why

    def compare(self, ready: Ready, written: Set[str]) -> None:
        """Of these jobs Postgres has a reason, and of no others: what another dispatcher wrote is to be told
        anew, and what did not get there again.
        """
        for job_id in self._told.keys() - written:
            del self._told[job_id]
        for job_id in written - self._told.keys():
            if (job := ready.get(job_id)) is not None:
                self._told[job_id] = job, _BEFORE

    def counted(self, ready: Ready) -> Counter[tuple[str, str]]:
        """Ready jobs by pool and reason; those without one of their own wait for the `queue`."""
        pools = Counter(map(attrgetter("pool"), ready.jobs()))
        found = Counter({(pool, "queue"): count for pool, count in pools.items()})
        for told, why in self._told.values():
            job = ready.get(told.job_id)
            if job is not None and job.queued_at == told.queued_at:
                found[job.pool, "queue"] -= 1
                found[job.pool, why.reason] += 1
        return found


def news(job: ReadyJob, why: Why | None, at: str) -> JobWaiting:
    """The record that tells of it."""
    reason, text, detail = (why.reason, why.text, why.detail) if why else (None, NO_MORE, {})
    return JobWaiting(job.tenant, job.pipeline_id, job.job_id, reason, text, detail, at)


def _same(one: Why | None, other: Why | None) -> bool:
    """Whether both say the same, what is volatile left out."""
    if one is None or other is None or one is _BEFORE or other is _BEFORE:
        return one is other
    return one.reason == other.reason and _lasting(one) == _lasting(other)


def _lasting(why: Why) -> dict[str, object]:
    return {name: value for name, value in why.detail.items() if name not in VOLATILE}
