"""A pipeline as plain lines, for files and pipes, and as one JSON object a line, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
import orjson

from penstock.cli.ansi import printable
from penstock.cli.follow import Screen
from penstock.cli.view import Change, JobView, PipelineView
from penstock.cli.words import clock_time, counted, reason_words, span
from penstock.client.records import LogEnd, LogLine, Status

QUIET: Final = frozenset(("PENDING", "QUEUED", "ASSIGNED"))
"""States of jobs that are told only when there is a reason for them, such as a lost runner."""


def state_words(view: PipelineView, change: Change) -> str:
    """`test FAILED exit code 3 (1.2 s)`."""
    job = change.job
    if job is None:
        took = f" ({span(view.seconds(change.at))})" if view.terminal else ""
        reason = reason_words(view.reason)
        begins = f" {view.pipeline_id}" if change.first else ""
        return f"{view.name} {view.state}{begins}" + (f" {reason}" if reason else "") + took
    reason = reason_words(job.reason, job.exit_code)
    again = f" attempt {job.attempt}" if job.attempt > 1 and job.state == "RUNNING" else ""
    seconds = job.seconds(change.at) if job.terminal else None
    took = f" ({span(seconds)})" if seconds is not None else ""
    return f"{job.name} {job.state}{again}" + (f" {reason}" if reason else "") + took


def is_quiet(change: Change) -> bool:
    """Whether a change is not worth a line."""
    return change.job is not None and change.state in QUIET and not change.job.reason


def end_words(end: LogEnd) -> str:
    """What is to be said of the end of a log: nothing when it is whole."""
    if not end.get("incomplete"):
        return ""
    missing = end.get("missing")
    return f"the log is not complete: {f'{missing:,} lines are' if missing else 'its end is'} lost"


class PlainScreen(Screen):
    """`HH:MM:SS name STATE reason (duration)`, and log lines as `name | text`."""

    def status(self, view: PipelineView, change: Change, _record: Status, /) -> None:
        """See `Screen`."""
        if not is_quiet(change):
            click.echo(f"{clock_time(change.at)} {state_words(view, change)}")

    def lines(self, _view: PipelineView, job: JobView, _attempt: int, lines: Sequence[LogLine], /) -> None:
        """See `Screen`."""
        shown = [f"{job.name} | {part}" for line in lines for part in printable(line["text"]).split("\n")]
        click.echo("\n".join(shown))

    def log_ended(self, _view: PipelineView, job: JobView, _attempt: int, end: LogEnd, /) -> None:
        """See `Screen`."""
        if words := end_words(end):
            self.note(f"{job.name}: {words}")

    def note(self, text: str, /) -> None:
        """See `Screen`."""
        click.echo(text, err=True)

    def close(self, view: PipelineView, /) -> None:
        """See `Screen`."""
        if view.terminal:
            click.echo(f"{view.name}: {counted(view.counts()) or 'no jobs'}; {view.pipeline_id}")


class JsonScreen(Screen):
    """Status records as they came, lines as {job, job_id, attempt, seq, …}, notes as {note}."""

    def status(self, _view: PipelineView, _change: Change, record: Status, /) -> None:
        """See `Screen`."""
        self._print(record)

    def lines(self, _view: PipelineView, job: JobView, attempt: int, lines: Sequence[LogLine], /) -> None:
        """See `Screen`."""
        head = {"job": job.name, "job_id": job.job_id, "attempt": attempt}
        for line in lines:
            self._print({**head, **line})

    def log_ended(self, _view: PipelineView, job: JobView, attempt: int, end: LogEnd, /) -> None:
        """See `Screen`."""
        self._print({"job": job.name, "job_id": job.job_id, "attempt": attempt, **end})

    def note(self, text: str, /) -> None:
        """See `Screen`."""
        click.echo(orjson.dumps({"note": text}), err=True)

    def _print(self, record: object) -> None:
        click.echo(orjson.dumps(record))
