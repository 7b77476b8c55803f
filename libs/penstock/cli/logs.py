"""`penstock logs`."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable
from typing import Final

import click
import orjson

from penstock.cli import exit_codes
from penstock.cli.ansi import printable
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag
from penstock.cli.plain import end_words
from penstock.cli.reference import find_job
from penstock.cli.words import reason_words
from penstock.client import Client, Patience, follow_events, follow_log
from penstock.client.records import Job, LogEnd, LogLine
from penstock.core.errors import Problem, RejectInput

Batches = Iterable[list[LogLine | LogEnd]]

BEGAN: Final = frozenset(("RUNNING", "CANCELLING"))


@click.command()
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt's log ends.")
@click.option("--attempt", type=click.IntRange(min=1), help="Which attempt [default: the last].")
@click.option("--raw", is_flag=True, help="The bytes as the job wrote them, whatever they do to a terminal.")
@url_option
@json_flag
def logs(job: str, follow: bool, attempt: int | None, raw: bool, url: str, as_json: bool) -> int:
    """Print the log of a job: text with its colours; other control sequences are left out.

    JOB is an id, or PIPELINE/NAME such as `last/test`. With --json each line is an object, and the last one
    the end-of-log record. That a log is incomplete is told on stderr.
    """
    client = connect(url)
    found = find_job(client, job)
    newest = _newest_attempt(found)
    if attempt is None:
        waits = follow and not newest and not found["terminal"]
        attempt = _first_attempt(client, found) if waits else newest
    elif attempt > newest:
        there = f"it has {newest}" if newest else "it has not begun"
        raise RejectInput(Problem(f"{found['name']} has no attempt {attempt}", hint=there))
    if not attempt:
        why = reason_words(found["reason"], found["exit_code"])
        click.echo(
            f"{found['name']} is {found['state']}{f' ({why})' if why else ''}: it has no log", err=True
        )
        return exit_codes.OK
    if follow:
        patience = Patience(tell=lambda text: click.echo(text, err=True))
        batches: Batches = follow_log(client, found["job_id"], attempt, patience)
    else:
        batches = client.log(found["job_id"], attempt=attempt)
    _print(batches, raw=raw, as_json=as_json)
    return exit_codes.OK


def _print(batches: Batches, *, raw: bool, as_json: bool) -> None:
    shown = _as_json if as_json else _as_bytes if raw else _as_text
    open_line = False
    for batch in batches:
        sys.stdout.buffer.write(b"".join(map(shown, batch)))
        sys.stdout.buffer.flush()
        for record in batch:
            if "end" in record and (words := end_words(record)):
                click.echo(words, err=True)
        lines = [record for record in batch if "end" not in record]
        open_line = bool(lines[-1].get("part")) if lines else open_line
    if open_line and shown is _as_text:
        click.echo()


def _as_json(record: LogLine | LogEnd) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _as_bytes(record: LogLine | LogEnd) -> bytes:
    if "end" in record:
        return b""
    data = base64.b64decode(record["raw"]) if "raw" in record else record["text"].encode()
    return data if record.get("part") else data + b"\n"


def _as_text(record: LogLine | LogEnd) -> bytes:
    if "end" in record:
        return b""
    return printable(record["text"]).encode() + (b"" if record.get("part") else b"\n")


def _newest_attempt(job: Job) -> int:
    """Its last one; of a job that a rerun took over, that of its source."""
    attempts = job.get("attempts", [])
    return attempts[-1]["attempt"] if job.get("source_job_id") and attempts else job["attempt"]


def _first_attempt(client: Client, job: Job) -> int:
    """Wait until a job has begun; 0 when it ended without."""
    click.echo(f"{job['name']} is {job['state']}; waiting until it begins", err=True)
    patience = Patience(tell=lambda text: click.echo(text, err=True))
    for record in follow_events(client, job["pipeline_id"], patience):
        if record.get("job_id") == job["job_id"] and (record["terminal"] or record["state"] in BEGAN):
            return record.get("attempt", 0)
    return 0
