"""`penstock explain` and `penstock promote`."""

from __future__ import annotations

import click

from penstock.cli import exit_codes
from penstock.cli.ansi import printable
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag, print_json
from penstock.cli.reference import find_job
from penstock.cli.words import look, span, timestamp
from penstock.runtime.clock import SystemClock


@click.command()
@click.argument("job")
@url_option
@json_flag
def explain(job: str, url: str, as_json: bool) -> int:
    """Say why a job is in its state: what it waits for, who has it, or how it ended.

    JOB is an id, or PIPELINE/NAME such as `last/test`.
    """
    client = connect(url)
    told = client.explain(find_job(client, job)["job_id"])
    if as_json:
        print_json(told)
        return exit_codes.OK
    state = click.style(told["state"], fg=look(told["state"]).colour)
    place = f"pool {told['pool']}, lane {told['lane']}"
    if told["state"] == "QUEUED" and (queued_at := told["queued_at"]):
        place += f", for {span(SystemClock().now() - timestamp(queued_at))}"
    click.echo(f"{printable(told['name'])} {state} ({place})")
    click.echo(f"  {printable(told['text'])}")
    return exit_codes.OK


@click.command()
@click.argument("job")
@click.option("--lane", type=click.Choice(("high", "critical")), default="high", show_default=True)
@url_option
@json_flag
def promote(job: str, lane: str, url: str, as_json: bool) -> int:
    """Raise the lane of a job that has not ended; among the jobs of that lane it keeps its age.

    JOB is an id, or PIPELINE/NAME such as `last/test`. A job is never put into a lower lane.
    """
    client = connect(url)
    told = client.promote(find_job(client, job)["job_id"], lane)
    if as_json:
        print_json(told)
    else:
        click.echo(f"it is in lane {lane} now" if told["promoted"] else f"it was in lane {lane} already")
    return exit_codes.OK
