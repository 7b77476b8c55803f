"""Why a ready job is not running: pure, from what the decision itself looks at."""

from __future__ import annotations

import math

from penstock.core.waiting import Why
from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.decide import Scene
from penstock_services.dispatcher.locks import Blocked
from penstock_services.dispatcher.ready import Shape
from penstock_services.dispatcher.runners import Pool, Runner
from penstock_services.dispatcher.turns import pool_limit, quotas_of, tenant_limit

GIB = 1024**3


class Explainer:
    """The reasons of one moment; one that all jobs of a tenant and shape share is found once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._known: dict[tuple[str, str, Shape], Why | None] = {}
        self._taking: dict[str, list[Runner]] = {}
        self._unfitting: dict[tuple[str, Shape], Why | None] = {}

    def why(self, job: ReadyJob) -> Why | None:
        """The first reason of `core.waiting` that holds; None: nothing but those before it (`queue`)."""
        ready = self._scene.ready
        shape = ready.shape(job)
        key = (job.pool, job.tenant, shape)
        if key not in self._known:
            self._known[key] = self._of_shape(job, shape)
        why = self._known[key]
        if why is not None:
            return why
        blocked = ready.locks.blocked(job.job_id)
        if blocked is not None:
            return self._of_locks(blocked)
        kept = self._scene.fleet.pool(job.pool).kept(self._scene.now).get(job.job_id) if shape.sized else None
        if kept is None:
            return None
        text = f"runner {kept.name} is being emptied: it asks for {_size(shape)}"
        return Why("no-room", text, {"runner": kept.name, "cpu": shape.cpu, "memory": shape.memory})

    def _of_shape(self, job: ReadyJob, shape: Shape) -> Why | None:
        scene, pool = self._scene, self._scene.fleet.pool(job.pool)
        if scene.policies.paused(job.pool):
            paused = scene.policies.pools[job.pool]
            who = f" by {paused.paused_by}" if paused.paused_by else ""
            text = f"pool {job.pool} is paused{who} since {paused.paused_at}"
            detail = {"pool": job.pool, "by": paused.paused_by, "since": paused.paused_at}
            return Why("pool-paused", text, detail)
        if not self._takers(pool):
            return self._no_runners(pool)
        return self._unfit(pool, shape) or self._quota(job, pool) or self._limit(job)

    def _takers(self, pool: Pool) -> list[Runner]:
        """The runners that take jobs."""
        scene = self._scene
        found = self._taking.get(pool.name)
        if found is None:
            heard = scene.now - scene.fleet.silent_seconds
            found = self._taking[pool.name] = [
                runner
                for runner in pool.runners.values()
                if runner.slots
                and runner.takes_jobs()
                and runner.heard_at >= heard
                and runner.name not in scene.policies.orders
            ]
        return found

    def _no_runners(self, pool: Pool) -> Why:
        working = [runner for runner in pool.runners.values() if runner.slots]
        ordered = sum(runner.name in self._scene.policies.orders for runner in working)
        text = f"pool {pool.name} has no runner that takes jobs"
        if working:
            text += (
                f": of {len(working)} are {ordered} out of service by order, the others silent or draining"
            )
        return Why("no-runners", text, {"pool": pool.name})

    def _unfit(self, pool: Pool, shape: Shape) -> Why | None:
        key = pool.name, shape
        if key not in self._unfitting:
            self._unfitting[key] = self._find_unfit(pool, shape)
        return self._unfitting[key]

    def _find_unfit(self, pool: Pool, shape: Shape) -> Why | None:
        runners, asked = self._takers(pool), (shape.executor, shape.labels, shape.arch)
        able = [runner for runner in runners if runner.can(asked)]
        if any(runner.is_large_enough(shape) for runner in able):
            return None
        detail: dict[str, object] = {"pool": pool.name}
        if not any(shape.executor in runner.executors for runner in runners):
            return Why("no-fit", f"no runner of pool {pool.name} has executor {shape.executor}",
                       {**detail, "executor": shape.executor})  # fmt: skip
        missing = [label for label in shape.labels if not any(label in runner.labels for runner in runners)]
        if missing:
            text = f"no runner of pool {pool.name} has label {', '.join(missing)}"
            return Why("no-fit", text, {**detail, "labels": missing})
        if shape.arch and not any(runner.arch == shape.arch for runner in runners):
            return Why(
                "no-fit", f"no runner of pool {pool.name} is {shape.arch}", {**detail, "arch": shape.arch}
            )
        if able:
            cpu, memory = max(runner.cpu for runner in able), max(runner.memory for runner in able)
            largest = f"{cpu:g} cores, {memory / GIB:.1f} GiB"
            text = f"it asks for {_size(shape)}; the largest runner that fits has {largest}"
            detail |= {"cpu": shape.cpu, "memory": shape.memory, "largest": {"cpu": cpu, "memory": memory}}
            return Why("no-fit", text, detail)
        all_of = ", ".join([shape.executor, *shape.labels, *([shape.arch] if shape.arch else [])])
        text = f"no runner of pool {pool.name} has all of {all_of} together"
        return Why("no-fit", text, {**detail, "labels": list(shape.labels)})

    def _quota(self, job: ReadyJob, pool: Pool) -> Why | None:
        scene = self._scene
        most = scene.policies.share(job.tenant, job.pool).most
        runs = pool.attempts(job.tenant)
        of_pool, overall = quotas_of(job.tenant, job.pool)
        if most is not None and (runs >= most or scene.turns.opens_at(of_pool, scene.now)):
            text = f"tenant {job.tenant} is at its quota of pool {job.pool}: {max(runs, most)} of {most}"
            return Why("quota", text, {"tenant": job.tenant, "pool": job.pool, "running": runs, "most": most})
        if scene.turns.opens_at(overall, scene.now):
            most = scene.policies.overall(job.tenant)
            text = f"tenant {job.tenant} is at its quota of all pools: {most} of {most}"
            return Why("quota", text, {"tenant": job.tenant, "most": most})
        return None

    def _limit(self, job: ReadyJob) -> Why | None:
        for name, whose in ((tenant_limit(job.tenant), "tenant"), (pool_limit(job.pool), "pool")):
            opens_at = self._scene.turns.opens_at(name, self._scene.now)
            if opens_at is not None and opens_at < math.inf:
                return self._rate(f"{whose} {name[2]}", opens_at)
        return None

    def _rate(self, what: str, opens_at: float) -> Why:
        seconds = max(0.0, opens_at - self._scene.now)
        text = f"the rate limit of {what} opens in {seconds:.1f} s"
        return Why("rate-limit", text, {"limit": what, "opens_at": round(self._scene.wall + seconds, 3)})

    def _of_locks(self, blocked: Blocked) -> Why:
        if blocked.opens_at is not None:
            return self._rate(blocked.name, blocked.opens_at)
        detail: dict[str, object] = {"name": blocked.name, "most": blocked.most}
        if blocked.holder:
            holder = "pipeline" if blocked.kind == "group" else "job"
            since = f" since {blocked.since}" if blocked.since else ""
            who = f"held by {holder} {blocked.holder}{since}"
            detail |= {"held_by": blocked.holder, "since": blocked.since or None}
        else:
            who = f"wanted first by job {blocked.before}"
            detail |= {"behind": blocked.before}
        match blocked.kind:
            case "group":
                return Why("group", f"concurrency group {blocked.name} is {who}", detail)
            case "matrix":
                return Why("max-parallel", f"{blocked.most} of its matrix run at once (max-parallel)", detail)
        mode = "shared" if blocked.most is None else "exclusive"
        return Why("lock", f"lock {blocked.name} ({mode}) is {who}", {**detail, "mode": mode})


def _size(shape: Shape) -> str:
    parts = [f"{shape.cpu:g} cores"] if shape.cpu else []
    return ", ".join(parts + ([f"{shape.memory / GIB:.1f} GiB"] if shape.memory else []))
