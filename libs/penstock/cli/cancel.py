"""`penstock cancel`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import click

from penstock.cli import exit_codes
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag, print_json
from penstock.cli.reference import find_job, find_pipeline
from penstock.client import Client, Patience, Refused, follow_events
from penstock.runtime.clock import SystemClock

APPLIED_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.05


@click.command()
@click.argument("target", metavar="PIPELINE|JOB")
@click.option("--reason", default="", help="Why, in words.")
@click.option("--wait", is_flag=True, help="Return once it has ended: no process of it is alive then.")
@url_option
@json_flag
def cancel(target: str, reason: str, wait: bool, url: str, as_json: bool) -> int:
    """Cancel a pipeline, or one job, and print its state.

    What waits is CANCELLED at once; what runs is CANCELLING until its processes are dead. Cancelling what
    has ended changes nothing and is no error: its state is printed, exit code 0.
    """
    client = connect(url)
    what, found = _find(client, target)
    ended = False
    try:
        if what == "job":
            client.cancel_job(found["job_id"], reason)
        else:
            client.cancel_pipeline(found["pipeline_id"], reason)
    except Refused as error:
        if error.status != 409:
            raise
        ended = True
    now = _when_applied(client, what, found)
    if wait and not now["terminal"]:
        now = _wait(client, what, found)
    if as_json:
        print_json(
            {"pipeline_id": found["pipeline_id"], "job_id": found.get("job_id"), "state": now["state"]}
        )
    else:
        click.echo(f"already {now['state']}" if ended else now["state"])
    return exit_codes.OK


def _find(client: Client, target: str) -> tuple[str, Any]:
    """A bare id may be a pipeline's or a job's."""
    if "/" in target:
        return "job", find_job(client, target)
    pipeline_id = find_pipeline(client, target)
    found = _or_none(lambda: client.pipeline(pipeline_id))
    return ("pipeline", found) if found is not None else ("job", client.job(pipeline_id))


def _or_none(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Refused as error:
        if error.status != 404:
            raise
        return None


def _state(client: Client, what: str, found: Any) -> Any:
    return client.job(found["job_id"]) if what == "job" else client.pipeline(found["pipeline_id"])


def _when_applied(client: Client, what: str, found: Any) -> Any:
    """The state once the cancel shows in it, which takes a moment; after a while whatever it is."""
    clock, never = SystemClock(), threading.Event()
    until = clock.monotonic() + APPLIED_SECONDS
    while True:
        now = _state(client, what, found)
        if now["terminal"] or now["state"] == "CANCELLING" or clock.monotonic() > until:
            return now
        clock.sleep(LOOK_SECONDS, never)


def _wait(client: Client, what: str, found: Any) -> Any:
    """The terminal record."""
    patience = Patience(tell=lambda text: click.echo(text, err=True))
    job_id = found["job_id"] if what == "job" else None
    for record in follow_events(client, found["pipeline_id"], patience):
        if record["terminal"] and record.get("job_id") == job_id:
            return record
    return _state(client, what, found)
