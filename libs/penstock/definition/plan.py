"""Makes the plan of one run from a checked definition and what the request says. Pure.

The nearer to the command, the stronger: of environment variables the file's `env` is weakest, then come
`defaults.env`, the request's `inputs` (as `INPUT_NAME`), the request's `env`, the job's, and the step's. Of
priorities the job's is strongest, then the request's, then the file's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from penstock.core.errors import Problem, RejectInput
from penstock.core.lanes import Lane, default_lane, lane_of
from penstock.definition import limits
from penstock.definition.concurrency import for_request
from penstock.definition.model import (
    DEFAULT_EXECUTOR,
    DEFAULT_GRACE_SECONDS,
    DEFAULT_PIPELINE_NAME,
    DEFAULT_TIMEOUT_SECONDS,
    Definition,
    Hold,
    Job,
    Plan,
    PlannedJob,
)
from penstock.definition.source import describe, show_path
from penstock.definition.values import ENV_NAME, env_bytes

_NAME: Final = re.compile(ENV_NAME)
_NOT_IN_NAME: Final = re.compile(r"[^A-Z0-9_]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NOTHING: Final[dict[str, Any]] = {}


def plan(
    definition: Definition,
    *,
    inputs: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    request_priority: str | int | None = None,
    git: Mapping[str, Any] | None = None,
    trigger: str = "",
) -> Plan:
    """The jobs and edges of one run.

    `git` has what the request says of it (interface §3); of a lane decide its `branch` and `default_branch`,
    and the name of the concurrency group may have any of it.

    Raises:
        RejectInput: `inputs`, `env` or `request_priority` of the request are no good, a job is too large, or
            the request gives the concurrency group no name.
    """
    file_wide = definition.env
    if inputs or env:
        file_wide = {**file_wide, **_request_env(inputs or _NOTHING, env or _NOTHING)}
        _limit_env(file_wide, len(definition.jobs))
    _limit_scripts(definition.jobs)
    concurrency = definition.concurrency and for_request(definition.concurrency, git or _NOTHING)
    group: tuple[Hold, ...] = (("group", concurrency["group"], 1),) if concurrency else ()
    lane = _lane(definition, request_priority, git or _NOTHING, trigger)
    return Plan(
        name=definition.name or DEFAULT_PIPELINE_NAME,
        jobs=[_planned(job, lane, file_wide, group) for job in definition.jobs],
        edges=definition.edges,
        concurrency=concurrency,
    )


def _limit_scripts(jobs: tuple[Job, ...]) -> None:
    problems = {
        job.key: Problem(
            f"its scripts have {size:,} bytes, {limits.MAX_SCRIPT_BYTES:,} are allowed",
            show_path(("jobs", job.key)),
            hint="put large data into the repository",
        )
        for job in jobs
        if (size := sum(len(step.run.encode()) for step in job.steps)) > limits.MAX_SCRIPT_BYTES
    }
    if problems:
        raise RejectInput(list(problems.values())[: limits.MAX_PROBLEMS])


def _planned(job: Job, lane: Lane, file_wide: dict[str, str], group: tuple[Hold, ...]) -> PlannedJob:
    planned = PlannedJob(
        name=job.name,
        stage=job.stage,
        pool=job.pool,
        labels=job.labels,
        lane=job.lane or lane,
        executor=job.executor,
        condition=job.condition,
        continue_on_error=job.continue_on_error,
        retry_max=job.retry_max,
        timeout_seconds=job.timeout_seconds,
        queue_seconds=job.queue_seconds,
        grace_seconds=job.grace_seconds,
        needs=tuple(dict.fromkeys(job.needs)) if job.needs else (),
        spec=_spec(job, {**file_wide, **job.env} if job.env else file_wide),
    )
    if not (group or job.holds or job.matrix or job.resources or job.immediate):
        return planned
    return msgspec.structs.replace(
        planned,
        resources=job.resources,
        holds=job.holds + group,
        immediate=job.immediate,
        matrix=job.matrix,
        fail_fast=job.fail_fast,
    )


def _spec(job: Job, env: dict[str, str]) -> dict[str, Any]:
    """A `JobSpec` with its defaults left out.

    By hand, because msgspec leaves a default out by identity, so that `1h` would not count as 3600.
    """
    spec: dict[str, Any] = {}
    if job.steps:
        spec["steps"] = [msgspec.to_builtins(step) for step in job.steps]
    if env:
        spec["env"] = env
    if job.executor != DEFAULT_EXECUTOR:
        spec["executor"] = job.executor
    if job.timeout_seconds != DEFAULT_TIMEOUT_SECONDS:
        spec["timeout"] = job.timeout_seconds
    if job.queue_seconds is not None:
        spec["queue"] = job.queue_seconds
    if job.grace_seconds != DEFAULT_GRACE_SECONDS:
        spec["grace"] = job.grace_seconds
    if job.shell:
        spec["shell"] = job.shell
    if job.exclusive:
        spec["exclusive"] = True
    return spec


def _lane(definition: Definition, priority: str | int | None, git: Mapping[str, Any], trigger: str) -> Lane:
    """The lane of jobs that have no priority of their own."""
    if priority is not None:
        try:
            return lane_of(priority)
        except ValueError as error:
            raise RejectInput(Problem(str(error), "priority")) from None
    if definition.lane is not None:
        return definition.lane
    return default_lane(
        trigger=trigger,
        environment=False,
        branch=git.get("branch") or "",
        default_branch=git.get("default_branch") or "",
    )


def _request_env(inputs: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """Inputs as `INPUT_NAME`, as GitHub names them, and variables of the request over them."""
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for name, value in inputs.items():
        variable = "INPUT_" + _NOT_IN_NAME.sub("_", name.upper())
        if not name or variable in found:
            message = "two inputs have the same variable" if name else "an input needs a name"
            problems.append(Problem(f"{message}: {variable}", show_path(("inputs", name)), hint="rename one"))
        _keep(problems, found, ("inputs", name), variable, value)
    for name, value in env.items():
        if not _NAME.fullmatch(name):
            hint = "a name has letters, digits and _, and does not start with a digit"
            problems.append(Problem("this is not a name of a variable", show_path(("env", name)), hint=hint))
        _keep(problems, found, ("env", name), name, value)
    if problems:
        raise RejectInput(problems[: limits.MAX_PROBLEMS])
    return found


def _keep(
    problems: list[Problem], found: dict[str, str], path: tuple[str, str], variable: str, value: object
) -> None:
    if not isinstance(value, str):
        problems.append(Problem(f"expected text, got {describe(value)}", show_path(path)))
    elif "\0" in value:
        problems.append(Problem("U+0000 is not allowed in text", show_path(path)))
    elif _SURROGATE.search(value):
        problems.append(Problem("half a character (a lone surrogate) is not text", show_path(path)))
    else:
        found[variable] = value


def _limit_env(env: dict[str, str], jobs: int) -> None:
    size = env_bytes(env)
    if size > 2 * limits.MAX_ENV_BYTES or size * jobs > limits.MAX_PLAN_ENV_BYTES:
        message = f"the variables and inputs have {size:,} bytes: too much for {jobs:,} jobs"
        raise RejectInput(Problem(message, "env", hint="put large data into the repository"))
