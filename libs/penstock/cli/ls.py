"""`penstock ls`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from penstock.cli import exit_codes
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.words import ago, cut, marked, span, timestamp
from penstock.client.records import Pipeline
from penstock.core.states import PIPELINE_STATES
from penstock.runtime.clock import SystemClock

NAME_CHARACTERS: Final = 32


@click.command()
@click.option(
    "--state", "states", multiple=True, type=click.Choice(PIPELINE_STATES, case_sensitive=False),
    help="Only in this state; repeatable.",
)  # fmt: skip
@click.option("--branch", default="", help="Only of this branch.")
@click.option("--repo", default="", help="Only of this repository.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@url_option
@json_flag
def ls(states: Sequence[str], branch: str, repo: str, limit: int, url: str, as_json: bool) -> int:
    """List pipelines, the newest first."""
    client = connect(url)
    pipelines = list(client.pipelines(states=states, branch=branch, repo=repo, limit=limit))
    if as_json:
        print_json({"pipelines": pipelines})
    elif not pipelines:
        click.echo("no pipelines", err=True)
    else:
        now = SystemClock().now()
        columns = ("pipeline", "name", "state", "age", "took", "jobs", "branch")
        print_table(columns, [_row(pipeline, now) for pipeline in pipelines])
    return exit_codes.OK


def _row(pipeline: Pipeline, now: float) -> tuple[str, ...]:
    created = timestamp(pipeline["created_at"])
    finished = pipeline.get("finished_at")
    took = span((timestamp(finished) if finished else now) - created)
    return (
        pipeline["pipeline_id"],
        cut(pipeline.get("name", ""), NAME_CHARACTERS),
        pipeline["state"],
        ago(now - created).removesuffix(" ago"),
        took,
        marked(pipeline["counts"]),
        (pipeline.get("git") or {}).get("branch", ""),
    )
