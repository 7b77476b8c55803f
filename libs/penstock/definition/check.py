"""Checks a definition: everything that is wrong with it at once, each with its place and a way to mend it.

The work is done by tables of readers over plain data; where something stands is looked up only when there
is a problem to report, so that a good definition costs next to nothing.
"""

from __future__ import annotations

from typing import Any, Final

from penstock.definition import limits, shape, values
from penstock.definition.concurrency import read_concurrency
from penstock.definition.graph import connect
from penstock.definition.jobs import FILE_WIDE, NOTHING, read_jobs
from penstock.definition.model import Definition
from penstock.definition.report import Report
from penstock.definition.source import Path, Source, quote


def check(source: Source) -> Definition:
    """A definition that intake can run as it is.

    Raises:
        RejectInput: with all problems, in the order of the file.
    """
    report = Report(source)
    top = values.read_object(report, (), source.data, _PIPELINE, shape.PIPELINE)
    defaults = top.get("defaults", NOTHING)
    stages = top.get("stages", ())
    jobs, directory = read_jobs(
        report, _jobs_within_limit(report, source, top), defaults, stages, source.max_jobs
    )
    edges = connect(report, jobs, directory, stages or ())
    env = {**top.get("env", NOTHING), **defaults.get("env", NOTHING)}
    if env and values.env_bytes(env) * len(jobs) > limits.MAX_PLAN_ENV_BYTES:
        hint = "give it to the jobs that need it"
        report.add(("env",), f"too much for {len(jobs):,} jobs, each of which gets it", hint, key=True)
    report.finish()
    return Definition(
        name=top.get("name", ""),
        on=top.get("on"),
        env=env,
        lane=top.get("priority"),
        concurrency=top.get("concurrency"),
        jobs=tuple(jobs),
        edges=edges,
    )


def _jobs_within_limit(report: Report, source: Source, top: dict[str, Any]) -> dict[str, Any]:
    """The jobs as written; none where they are missing or too many."""
    jobs = top.get("jobs")
    if not isinstance(jobs, dict):
        if "jobs" in top:
            hint = "write each as `name: {run: …}`"
            report.expected(("jobs",), "an object of jobs by their names", jobs, hint)
        else:
            report.add((), "a pipeline needs `jobs`", "such as `jobs: {test: {run: make test}}`")
        return {}
    if not jobs:
        report.add(("jobs",), "there are no jobs", "add one", key=True)
    if len(jobs) > source.max_jobs:
        hint = "" if source.max_jobs == limits.MAX_JOBS_JSON else limits.MORE_JOBS
        report.add(("jobs",), f"{len(jobs):,} jobs; {source.max_jobs:,} is the limit", hint, key=True)
        return {}
    return jobs


def _read_jobs_later(_report: Report, _path: Path, value: Any) -> Any:
    """Jobs are read when `defaults` and `stages` are known, wherever these stand."""
    return value


def _read_stages(report: Report, path: Path, value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        report.expected(path, "a list of names", value)
        return None
    if len(value) > limits.MAX_STAGES:
        report.add(path, f"{len(value):,} stages; {limits.MAX_STAGES:,} is the limit", key=True)
        return None
    found: dict[str, None] = {}
    readable = True
    for at, item in enumerate(value):
        name = values.read_name(report, (*path, at), item)
        if name is None:
            readable = False
        elif name in found:
            report.add((*path, at), f"the stage {quote(name)} appears twice", "keep one of them")
        else:
            found[name] = None
    return tuple(found) if readable else None


def _read_defaults(report: Report, path: Path, value: Any) -> dict[str, Any]:
    return values.read_object(report, path, value, FILE_WIDE, shape.DEFAULTS)


def _read_on(report: Report, path: Path, value: Any) -> Any:
    """Kept as it is: the webhook door reads it, but nobody gets data that is nested without an end."""
    if not isinstance(value, dict | list | str):
        report.expected(path, "an object, a list or a name of events", value)
    level = [value]
    for _ in range(limits.MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    report.add(path, f"nested deeper than {limits.MAX_DEPTH} levels", key=True)
    return value


_PIPELINE: Final[dict[str, values.Reader]] = {
    "name": values.read_name,
    "on": _read_on,
    "env": values.read_env,
    "priority": values.read_priority,
    "concurrency": read_concurrency,
    "stages": _read_stages,
    "defaults": _read_defaults,
    "jobs": _read_jobs_later,
}
