"""`penstock show`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.ansi import printable
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag, print_json
from penstock.cli.reference import find_pipeline
from penstock.cli.view import JobView, PipelineView
from penstock.cli.words import ago, clock_time, counted, look, reason_words, span, timestamp
from penstock.client.records import Attempt, Job, Pipeline
from penstock.core.errors import Problem
from penstock.runtime.clock import SystemClock


@click.command()
@click.argument("pipeline")
@click.option("--attempts", "every", is_flag=True, help="Show also the attempts of jobs that had only one.")
@url_option
@json_flag
def show(pipeline: str, every: bool, url: str, as_json: bool) -> int:
    """Show a pipeline: its jobs by stage with states, reasons, durations and attempts.

    PIPELINE is an id, or `last`. An attempt is shown with its worker's name and session, and when it ran; of
    one that was taken back, also what its runner told too late.
    """
    client = connect(url)
    pipeline_id = find_pipeline(client, pipeline)
    found = client.pipeline(pipeline_id)
    jobs = client.jobs(pipeline_id, attempts=True)
    if as_json:
        print_json({**found, "jobs": jobs})
        return exit_codes.OK
    view = PipelineView(pipeline_id)
    view.show(jobs)
    now = SystemClock().now()
    told = {job["job_id"]: _told(job, every=every) for job in jobs}
    for line in (*_head(found, now), *_errors(found), *_tree(view, told, now)):
        click.echo(line)
    return exit_codes.OK


def _head(pipeline: Pipeline, now: float) -> Iterator[str]:
    created = timestamp(pipeline["created_at"])
    finished = pipeline.get("finished_at")
    took = span((timestamp(finished) if finished else now) - created)
    name = click.style(pipeline.get("name", ""), bold=True)
    words = (_state(pipeline["state"]), name, reason_words(pipeline.get("reason")))
    yield " ".join(word for word in words if click.unstyle(word))
    yield f"  {pipeline['pipeline_id']}, created {ago(now - created)}, {'took' if finished else 'for'} {took}"
    if rerun_of := pipeline.get("rerun_of"):
        yield f"  rerun of {rerun_of}"
    git = pipeline.get("git") or {}
    parts = (git.get("repo"), git.get("branch"), git.get("sha", "")[:12], git.get("message"))
    if any(parts):
        yield "  " + " ".join(part for part in parts if part)
    if pipeline["counts"]:
        yield f"  {counted(pipeline['counts'])}"


def _errors(pipeline: Pipeline) -> Iterator[str]:
    for problem in msgspec.convert(pipeline.get("errors") or [], list[Problem]):
        yield f"  {click.style('error:', fg='red')} {problem}"


def _told(job: Job, *, every: bool) -> list[Attempt]:
    """The attempts that are shown of a job."""
    attempts = job.get("attempts", [])
    late = any(attempt.get("late") for attempt in attempts)
    return attempts if every or ((late or len(attempts) > 1) and not job.get("source_job_id")) else []


def _tree(view: PipelineView, told: Mapping[str, list[Attempt]], now: float) -> Iterator[str]:
    """Jobs by stage, those with a story to tell with their attempts."""
    width = min(40, max((len(job.name) for job in view.jobs.values()), default=0))
    for stage, jobs in view.stages():
        if stage:
            yield click.style(stage, bold=True)
        for at, job in enumerate(jobs):
            last = at == len(jobs) - 1
            yield f"{'└─' if last else '├─'} {_job(view, job, width, now)}"
            for attempt in told[job.job_id]:
                yield f"{'  ' if last else '│ '}    {_attempt(attempt)}"
                if late := attempt.get("late"):
                    when = clock_time(timestamp(attempt.get("late_at") or ""))
                    yield f"{'  ' if last else '│ '}      refused, for it came at {when}: {late}"


def _job(view: PipelineView, job: JobView, width: int, now: float) -> str:
    seconds = job.seconds(now)
    parts = [f"{look(job.state).mark} {job.name:<{width}}", _state(job.state)]
    if seconds is not None:
        parts.append(span(seconds))
    reason = reason_words(job.reason, job.exit_code)
    if reason:
        parts.append(reason)
    elif job.state == "PENDING" and (unmet := view.unmet(job)):
        parts.append(f"waits for {', '.join(unmet)}")
    elif job.waiting:
        parts.append(f"waits: {printable(job.waiting)}")
    return " ".join(parts)


def _attempt(attempt: Attempt) -> str:
    parts = [f"attempt {attempt['attempt']}", _state(attempt["state"])]
    if attempt["duration_ms"] is not None:
        parts.append(span(attempt["duration_ms"] / 1000))
    reason = reason_words(attempt["reason"], attempt["exit_code"])
    if reason:
        parts.append(reason)
    started, ended = attempt["started_at"], attempt["ended_at"]
    since = clock_time(timestamp(started or attempt["assigned_at"]))
    until = clock_time(timestamp(ended)) if ended else "now"
    name = f"{attempt['worker_name']} " if attempt["worker_name"] else ""
    when = f"{since} to {until}" if started else f"granted {since}, never started"
    return f"{' '.join(parts)}, {when}, on {name}({attempt['worker']})"


def _state(state: str) -> str:
    return click.style(state, fg=look(state).colour)
