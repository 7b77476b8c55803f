"""Readers of jobs and their steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.definition import limits, shape, values
from penstock.definition.model import (
    DEFAULT_EXECUTOR,
    DEFAULT_GRACE_SECONDS,
    DEFAULT_POOL,
    DEFAULT_TIMEOUT_SECONDS,
    Job,
    Step,
)
from penstock.definition.names import fault_in, normalize, too_long
from penstock.definition.report import Report
from penstock.definition.source import Path, quote

NOTHING: Final[dict[str, Any]] = {}
STEP_NAME_CHARACTERS: Final = 80
"""How much of a script's first line names a step without a name."""


def read_jobs(
    report: Report, value: dict[str, Any], defaults: Mapping[str, Any], stages: Sequence[str] | None
) -> tuple[list[Job], dict[str, int]]:
    """The jobs in the order of the file, and the index of each by its normalized name.

    `stages` is None where they were unreadable, so that no job is blamed for it.
    """
    jobs: list[Job] = []
    index: dict[str, int] = {}
    for name, item in value.items():
        path: Path = ("jobs", name)
        fault = fault_in(name)
        if fault:
            report.add(path, fault, "choose another name for this job", key=True)
        if index.setdefault(normalize(name), len(jobs)) != len(jobs):
            hint = "the two are the same after Unicode normalization (NFC); rename one"
            report.add(path, f"there is another job {quote(name)}", hint, key=True)
        jobs.append(_read_job(report, path, item, defaults, stages))
    return jobs, index


def _read_job(
    report: Report, path: Path, value: Any, defaults: Mapping[str, Any], stages: Sequence[str] | None
) -> Job:
    given = values.read_object(report, path, value, _JOB, shape.JOB)
    merged = {**defaults, **given} if defaults else given
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
    if "timeout" in defaults and "timeout" in given:
        timeout = {**defaults["timeout"], **timeout}
    return Job(
        name=str(path[-1]),
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
    if isinstance(value, str) and value and values.EXPRESSION not in value:
        return value
    if isinstance(value, str) and value:
        values.refuse_expression(report, path)
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


FILE_WIDE: Final[dict[str, values.Reader]] = {
    "env": values.read_env,
    "shell": values.read_name,
    "runs-on": values.read_runs_on,
    "executor": values.read_executor,
    "timeout": values.read_timeout,
    "retry": values.read_retry,
    "continue-on-error": values.read_flag,
    "exclusive": values.read_flag,
}
"""Keys of a job that `defaults` has too."""

_JOB: Final[dict[str, values.Reader]] = {
    **FILE_WIDE,
    "stage": values.read_name,
    "needs": _read_needs,
    "if": values.read_condition,
    "priority": values.read_priority,
    "run": _read_run,
    "steps": _read_steps,
}
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
