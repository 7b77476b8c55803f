"""What a request means: its fields checked, its definition planned. Pure; tells all that is wrong at once."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.errors import DeadLetter, Problem
from penstock.core.ids import is_uuid
from penstock.definition.model import Plan, PlannedJob
from penstock.definition.names import CONTROL
from penstock.definition.request import MAX_REQUEST_ID_BYTES, TENANT, read_request
from penstock.events.pipelines import PipelineRequested, requested


class Asked(msgspec.Struct):
    """One request on its way: what was asked for, what it means so far, and what is wrong with it."""

    request: PipelineRequested
    key: str
    """Its idempotency key; of a request without a usable one, the place of its record."""
    problems: list[Problem]
    digest: str = ""
    plan: Plan | None = None

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.request.tenant

    @property
    def wanted_id(self) -> str:
        """The client's own id for the pipeline, when it can be used."""
        wanted = self.request.pipeline_id
        bad = any(problem.path == "pipeline_id" for problem in self.problems)
        return wanted if is_uuid(wanted) and not bad else ""


def read(value: bytes | None, ce_id: str, place: str) -> Asked:
    """Decode one record. `place` names the record: the key of a request that has none of its own.

    Raises:
        DeadLetter: not JSON, no object, or no tenant: nobody can be told.
    """
    problems: list[Problem] = []
    try:
        request = requested.decode(value)
    except DeadLetter as error:
        request = _salvage(value, error, problems)
    if not TENANT.fullmatch(request.tenant):
        raise DeadLetter(f"tenant {request.tenant!r} is not 1 to 63 of a-z, 0-9 and -")
    key = request.request_id or ce_id
    if not key:
        problems.append(Problem("is missing", "request_id", hint="give a key of your own, or a header ce_id"))
    elif len(key.encode()) > MAX_REQUEST_ID_BYTES or CONTROL.search(key):
        limit = f"is not 1 to {MAX_REQUEST_ID_BYTES} bytes without control characters"
        problems.append(Problem(limit, "request_id"))
        key = ""
    return Asked(request, key or place, problems)


def reference_of(asked: Asked) -> tuple[str, str] | None:
    """Tenant and digest of the definition that must be read to judge the request; None when there is none."""
    reference = asked.request.definition_ref
    return None if reference is None or asked.problems else (asked.tenant, reference.sha256)


def interpret(asked: Asked, stored: bytes | None, now: float) -> None:
    """Check the request and plan its jobs; `stored` is what its reference names. Adds to `problems`."""
    found = read_request(asked.request, now=now, stored=stored)
    asked.digest = found.digest
    asked.plan = found.plan
    if not asked.problems:
        asked.problems.extend(found.problems)


def job_rows(
    asked: Asked, pipeline_id: str, ids: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The plan's jobs and edges as `accept_v1` takes them; `ids` are the jobs' ids in the plan's order."""
    assert asked.plan is not None
    unmet = [0] * len(ids)
    for _, child in asked.plan.edges:
        unmet[child] += 1
    jobs = [
        {
            "id": job_id,
            "pipeline_id": pipeline_id,
            "tenant": asked.tenant,
            "name": job.name,
            "pool": job.pool,
            "lane": job.lane,
            "unmet": waits,
            "executor": job.executor,
            "labels": job.labels,
            "condition": job.condition,
            "continue_on_error": job.continue_on_error,
            "retry_max": job.retry_max,
            "stage": job.stage or None,
            "needs": job.needs or None,
            "spec": job.spec,
            **_wishes(job),
        }
        for job_id, job, waits in zip(ids, asked.plan.jobs, unmet, strict=True)
    ]
    edges = [
        {"parent_id": ids[parent], "child_id": ids[child], "pipeline_id": pipeline_id}
        for parent, child in asked.plan.edges
    ]
    return jobs, edges


def _wishes(job: PlannedJob) -> dict[str, Any]:
    """What it asks of dispatch beyond a slot: of most jobs nothing, and each key costs in Postgres."""
    wishes = {
        "resources": job.resources,
        "holds": job.holds,
        "immediate": job.immediate,
        "matrix": job.matrix,
        "fail_fast": job.fail_fast,
    }
    return {key: value for key, value in wishes.items() if value}


def pipeline_row(asked: Asked, pipeline_id: str) -> dict[str, Any]:
    """The pipeline as `accept_v1` takes it."""
    assert asked.plan is not None
    request = asked.request
    return {
        "id": pipeline_id,
        "tenant": asked.tenant,
        "key": asked.key,
        "hash": asked.digest,
        "name": asked.plan.name,
        "trigger": request.trigger,
        "git": msgspec.to_builtins(request.git) if request.git else None,
        "definition": request.definition or request.definition_yaml,
        "sha256": request.definition_ref.sha256 if request.definition_ref else None,
        "inputs": request.inputs,
        "env": request.env,
        "concurrency": asked.plan.concurrency,
    }


def rejection_row(
    asked: Asked, pipeline_id: str, *, conflict: bool = False, git: bool = False
) -> dict[str, Any]:
    """The refusal as `reject_v1` takes it; `git`: the request's git may be kept, it was found good."""
    return {
        "id": pipeline_id,
        "tenant": asked.tenant,
        "key": asked.key,
        "hash": asked.digest,
        "name": asked.plan.name if asked.plan else "",
        "reason": "request-conflict" if conflict else "invalid",
        "errors": [msgspec.to_builtins(problem) for problem in asked.problems],
        "trigger": asked.request.trigger,
        "git": msgspec.to_builtins(asked.request.git) if git and asked.request.git else None,
        "conflict": conflict,
    }


def waiting_rejection_row(tenant: str, key: str, waiting: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """The refusal, as `reject_v1` takes it, of a received request {pipeline_id, hash} that cannot be read."""
    return {
        "id": waiting["pipeline_id"],
        "tenant": tenant,
        "key": key,
        "hash": waiting["hash"],
        "name": "",
        "reason": "invalid",
        "errors": [msgspec.to_builtins(problem)],
        "trigger": None,
        "git": None,
        "conflict": False,
    }


def _salvage(value: bytes | None, error: DeadLetter, problems: list[Problem]) -> PipelineRequested:
    """A record of the wrong shape that still says whose it is can be answered; else the error goes on."""
    try:
        loose = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise error from None
    if not isinstance(loose, dict) or not isinstance(loose.get("tenant"), str):
        raise error
    message, _, path = str(error.__cause__).partition(" - at `$.")
    problems.append(Problem(message, path.rstrip("`")))
    texts = {
        name: loose[name]
        for name in ("tenant", "request_id", "pipeline_id")
        if isinstance(loose.get(name), str)
    }
    return PipelineRequested(**texts)
