"""`penstock show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag, print_json
from penstock.cli.reference import find_pipeline
from penstock.cli.view import JobView, PipelineView
from penstock.cli.words import ago, counted, look, reason_words, span, timestamp
from penstock.client import Client
from penstock.client.records import Attempt, Pipeline
from penstock.core.errors import Problem
from penstock.runtime.clock import SystemClock

SHOWN_ATTEMPTS: Final = 50
"""Jobs whose attempts are asked for."""


@click.command()
@click.argument("pipeline")
@url_option
@json_flag
def show(pipeline: str, url: str, as_json: bool) -> int:
    """Show a pipeline: its jobs by stage with states, reasons, durations and attempts.

    PIPELINE is an id, or `last`.
    """
    client = connect(url)
    pipeline_id = find_pipeline(client, pipeline)
    found = client.pipeline(pipeline_id)
    jobs = client.jobs(pipeline_id)
    if as_json:
        print_json({**found, "jobs": jobs})
        return exit_codes.OK
    view = PipelineView(pipeline_id)
    view.show(jobs)
    now = SystemClock().now()
    for line in (*_head(found, now), *_errors(found), *_tree(client, view, now)):
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
    git = pipeline.get("git") or {}
    parts = (git.get("repo"), git.get("branch"), git.get("sha", "")[:12], git.get("message"))
    if any(parts):
        yield "  " + " ".join(part for part in parts if part)
    if pipeline["counts"]:
        yield f"  {counted(pipeline['counts'])}"


def _errors(pipeline: Pipeline) -> Iterator[str]:
    for problem in msgspec.convert(pipeline.get("errors") or [], list[Problem]):
        yield f"  {click.style('error:', fg='red')} {problem}"


def _tree(client: Client, view: PipelineView, now: float) -> Iterator[str]:
    """Jobs by stage, those with a story to tell with their attempts."""
    width = min(40, max((len(job.name) for job in view.jobs.values()), default=0))
    left = SHOWN_ATTEMPTS
    for stage, jobs in view.stages():
        if stage:
            yield click.style(stage, bold=True)
        for at, job in enumerate(jobs):
            last = at == len(jobs) - 1
            yield f"{'└─' if last else '├─'} {_job(view, job, width, now)}"
            if job.attempt > 1 and left:
                left -= 1
                for attempt in client.attempts(job.job_id):
                    yield f"{'  ' if last else '│ '}    {_attempt(attempt)}"


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
    return " ".join(parts)


def _attempt(attempt: Attempt) -> str:
    parts = [f"attempt {attempt['attempt']}", _state(attempt["state"])]
    if attempt["duration_ms"] is not None:
        parts.append(span(attempt["duration_ms"] / 1000))
    reason = reason_words(attempt["reason"], attempt["exit_code"])
    if reason:
        parts.append(reason)
    return " ".join((*parts, f"on {attempt['worker_name'] or attempt['worker']}"))


def _state(state: str) -> str:
    return click.style(state, fg=look(state).colour)
