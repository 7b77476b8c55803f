"""Readers of jobs and their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from penstock.definition import limits, shape, values
from penstock.definition.expressions import EXPRESSION, Filling, has_expression, refuse
from penstock.definition.locks import read_locks
from penstock.definition.model import (
    DEFAULT_EXECUTOR,
    DEFAULT_GRACE_SECONDS,
    DEFAULT_POOL,
    DEFAULT_TIMEOUT_SECONDS,
    Directory,
    Job,
    Step,
)
from penstock.definition.names import fault_in, normalize, too_long
from penstock.definition.report import Report
from penstock.definition.resources import read_resources
from penstock.definition.source import Path, quote
from penstock.definition.strategy import KEY as STRATEGY
from penstock.definition.strategy import Strategy, read_strategies, without_strategy

NOTHING: Final[dict[str, Any]] = {}
STEP_NAME_CHARACTERS: Final = 80
"""How much of a script's first line names a step without a name."""


def read_jobs(
    report: Report,
    value: dict[str, Any],
    defaults: Mapping[str, Any],
    stages: Sequence[str] | None,
    max_jobs: int,
) -> tuple[list[Job], Directory]:
    """The jobs in the order of the file, one a cell of each matrix, at most `max_jobs`; and where each is.

    `stages` is None where they were unreadable, so that no job is blamed for it. A job whose matrix is
    unreadable is left out.
    """
    strategies = read_strategies(report, value, max_jobs)
    jobs: list[Job] = []
    directory = Directory({}, {})
    for name, item in value.items():
        path: Path = ("jobs", name)
        first = len(jobs)
        fault = fault_in(name)
        if fault:
            report.add(path, fault, "choose another name for this job", key=True)
        strategy = strategies.get(name)
        if strategy is None:
            given = values.read_object(report, path, item, _JOB, shape.JOB)
            jobs.append(_job(report, path, name, item, given, defaults, stages))
        else:
            jobs += _read_cells(report, path, strategy, without_strategy(item), defaults, stages, first)
            first = first if strategy.cells else -1
            directory.cells[first] = range(first, len(jobs)) if strategy.cells else range(0)
        if directory.first.setdefault(normalize(name), first) != first:
            hint = "the two are the same after Unicode normalization (NFC); rename one"
            report.add(path, f"there is another job {quote(name)}", hint, key=True)
    return jobs, directory


def _read_cells(
    report: Report,
    path: Path,
    strategy: Strategy,
    rest: dict[str, Any],
    defaults: Mapping[str, Any],
    stages: Sequence[str] | None,
    number: int,
) -> list[Job]:
    """A job a cell, the first of this number. What has no expressions is read once, for all of them."""
    report.speak_for(number)
    plain = {key: item for key, item in rest.items() if not has_expression(item)}
    plain[STRATEGY] = strategy
    shared = values.read_object(report, path, plain, _JOB, shape.JOB) if strategy.cells else NOTHING
    other = {key: item for key, item in rest.items() if key not in plain}
    jobs: list[Job] = []
    for name, cell in strategy.cells.items():
        filling = Filling(report, cell, strategy.keys)
        report.speak_for(number + len(jobs))
        filled = filling.fill(path, other)
        report.speak_for(number + len(jobs), name, filling.filled)
        given = {**shared, **values.read_object(report, path, filled, _JOB, shape.JOB)}
        jobs.append(_job(report, path, name, {**plain, **filled}, given, defaults, stages))
    report.speak_for(None)
    return jobs


def _job(
    report: Report,
    path: Path,
    name: str,
    value: Any,
    given: dict[str, Any],
    defaults: Mapping[str, Any],
    stages: Sequence[str] | None,
) -> Job:
    """The job of what was read of its value."""
    merged = _with_defaults(given, defaults) if defaults else given
    stage = given.get("stage", "")
    if stage and stages is not None and stage not in stages:
        _report_stage(report, path, stage, stages)
    executor = merged.get("executor", DEFAULT_EXECUTOR)
    if "run" in given and "steps" in given:
        report.add((*path, "steps"), "a job has `run` or `steps`, not both", "make `run` a step", key=True)
    elif executor == DEFAULT_EXECUTOR and "run" not in given and "steps" not in given:
        _report_no_run(report, path, value, "`run` or `steps` (or `executor: noop`)")
    runs_on = merged.get("runs-on", NOTHING)
    timeout = merged.get("timeout", NOTHING)
    if given.get("immediate"):
        timeout = _immediate_timeout(report, path, given, timeout)
    job = Job(
        name=name,
        stage=stage,
        needs=given.get("needs"),
        pool=runs_on.get("pool", DEFAULT_POOL),
        labels=runs_on.get("labels", ()),
        lane=given.get("priority"),
        executor=executor,
        shell=merged.get("shell", ""),
        env=given.get("env", NOTHING),
        steps=given["run"] if "run" in given else given.get("steps", ()),
        timeout_seconds=timeout.get("run", DEFAULT_TIMEOUT_SECONDS),
        queue_seconds=timeout.get("queue"),
        grace_seconds=timeout.get("cancel-grace", DEFAULT_GRACE_SECONDS),
        retry_max=merged.get("retry", NOTHING).get("max", 0),
        continue_on_error=merged.get("continue-on-error", False),
        exclusive=merged.get("exclusive", False),
        condition=given.get("if", ""),
    )
    return job if _DISPATCH.isdisjoint(merged) else _for_dispatch(job, merged)


def _for_dispatch(job: Job, merged: Mapping[str, Any]) -> Job:
    """The job with what few jobs have."""
    strategy: Strategy | None = merged.get(STRATEGY)
    return msgspec.structs.replace(
        job,
        matrix=strategy.key if strategy else "",
        resources=merged.get("resources") or None,
        holds=merged.get("locks", ()) + (strategy.holds if strategy else ()),
        immediate=merged.get("immediate", False),
        fail_fast=strategy is not None and strategy.fail_fast,
    )


def _with_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What a job says over what `defaults` do; of some objects key by key."""
    merged = {**defaults, **given}
    for key in ("timeout", "resources"):
        if key in given and key in defaults:
            merged[key] = {**defaults[key], **given[key]}
    return merged


def _immediate_timeout(
    report: Report, path: Path, given: Mapping[str, Any], timeout: Mapping[str, Any]
) -> dict[str, Any]:
    """The timeout of an immediate job: what it says itself must be short, what others say is cut."""
    most = limits.MAX_IMMEDIATE_SECONDS
    own = given.get("timeout", NOTHING).get("run")
    if own is not None and own > most:
        hint = f"such as `timeout: {most}s`, or leave out `immediate`"
        message = f"an immediate job may run for {most} s at most, this one for {own:,} s"
        report.add(report.existing((*path, "timeout", "run")), message, hint)
    return {**timeout, "run": min(timeout.get("run") or most, most)}


def _report_stage(report: Report, path: Path, stage: str, stages: Sequence[str]) -> None:
    near = report.suggest(stage, stages)
    hint = f"did you mean {quote(near)}?" if near else "add it to `stages`"
    report.add((*path, "stage"), f"there is no stage {quote(stage)}", hint)


def _report_no_run(report: Report, path: Path, value: Any, what: str) -> None:
    """Tell that there is nothing to run, unless something else was reported that says so already."""
    if isinstance(value, dict) and not any(key.lower() in shape.STANDS_FOR_RUN for key in value):
        part = "step" if path[-2] == "steps" else "job"
        report.add(path, f"this {part} has nothing to run: expected {what}", key=True)


def _read_needs(report: Report, path: Path, value: Any) -> tuple[str, ...]:
    """Names as written; whether they exist is known only when all jobs are.

    An item that is no name is reported and becomes "", so that the others keep their places.
    """
    if isinstance(value, str):
        return (_read_need(report, path, value),)
    if not isinstance(value, list | tuple):
        report.expected(path, "a list of job names, or one name", value)
        return ()
    return tuple(
        item if isinstance(item, str) and item and "$" not in item else _read_need(report, (*path, at), item)
        for at, item in enumerate(value)
    )


def _read_need(report: Report, path: Path, value: Any) -> str:
    value = report.as_text(path, value)
    if isinstance(value, str) and value and EXPRESSION not in value:
        return value
    if isinstance(value, str) and value:
        refuse(report, path, value)
    else:
        hint = "write the job's name alone" if isinstance(value, dict) else ""
        report.expected(path, "a job's name", value, hint)
    return ""


def _read_run(report: Report, path: Path, value: Any) -> tuple[Step, ...]:
    """`run` directly on a job: one step."""
    text = values.read_text(report, path, value)
    return (Step(name=_first_line(text), run=text),) if text is not None else ()


def _read_steps(report: Report, path: Path, value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list | tuple):
        report.expected(path, "a list of steps", value, "write `- run: …` for each")
        return ()
    if not value:
        report.add(path, "there are no steps", "add one, or remove the key", key=True)
    if len(value) > limits.MAX_STEPS:
        report.add(path, f"{len(value):,} steps; {limits.MAX_STEPS} is the limit", key=True)
        return ()
    ids: set[str] = set()
    return tuple(_read_step(report, (*path, at), item, ids) for at, item in enumerate(value))


def _read_step(report: Report, path: Path, value: Any, ids: set[str]) -> Step:
    if isinstance(value, str):
        report.expected(path, "an object", value, "write `- run: …`")
        return Step(name="", run="")
    given = values.read_object(report, path, value, _STEP, shape.STEP)
    if "run" not in given:
        _report_no_run(report, path, value, "`run`")
    step_id = given.get("id") or ""
    if step_id and step_id in ids:
        report.add((*path, "id"), f"another step of this job has the id {quote(step_id)}", "rename one")
    ids.add(step_id)
    run = given.get("run") or ""
    return Step(
        name=given.get("name") or _first_line(run),
        run=run,
        id=step_id,
        shell=given.get("shell") or "",
        env=given.get("env") or NOTHING,
        continue_on_error=given.get("continue-on-error") or False,
        timeout=given.get("timeout"),
        working_directory=given.get("working-directory") or "",
    )


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0].rstrip()
    return line if len(line) <= STEP_NAME_CHARACTERS else line[: STEP_NAME_CHARACTERS - 1] + "…"


def _read_directory(report: Report, path: Path, value: Any) -> str | None:
    text = values.read_text(report, path, value)
    if text is not None and too_long(text, limits.MAX_PATH_BYTES):
        report.add(path, f"a path has at most {limits.MAX_PATH_BYTES:,} bytes")
    return text


def _strategy_as_read(_report: Report, _path: Path, value: Any) -> Any:
    """A strategy is read before its job, of which it may make many."""
    return value


FILE_WIDE: Final[dict[str, values.Reader]] = {
    "env": values.read_env,
    "shell": values.read_name,
    "runs-on": values.read_runs_on,
    "executor": values.read_executor,
    "timeout": values.read_timeout,
    "retry": values.read_retry,
    "continue-on-error": values.read_flag,
    "exclusive": values.read_flag,
    "resources": read_resources,
}
"""Keys of a job that `defaults` has too."""

_JOB: Final[dict[str, values.Reader]] = {
    **FILE_WIDE,
    "stage": values.read_name,
    "needs": _read_needs,
    "if": values.read_condition,
    "priority": values.read_priority,
    "locks": read_locks,
    "immediate": values.read_flag,
    STRATEGY: _strategy_as_read,
    "run": _read_run,
    "steps": _read_steps,
}
_DISPATCH: Final = frozenset(("resources", "locks", "immediate", STRATEGY))
_STEP: Final[dict[str, values.Reader]] = {
    "id": values.read_step_id,
    "name": values.read_name,
    "run": values.read_text,
    "shell": values.read_name,
    "env": values.read_env,
    "continue-on-error": values.read_flag,
    "timeout": values.read_duration,
    "working-directory": _read_directory,
}
