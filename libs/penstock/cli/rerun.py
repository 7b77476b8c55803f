"""`penstock rerun`."""

from __future__ import annotations

from typing import Final

import click

from penstock.cli import exit_codes
from penstock.cli.gateway import connect, url_option
from penstock.cli.output import json_flag, print_json
from penstock.cli.reference import find_job, find_pipeline
from penstock.client import Client, Patience
from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import is_uuid, uuid4

RERUN_SECONDS: Final = 15.0
"""How long a gateway that does not answer is asked."""


@click.command()
@click.argument("pipeline")
@click.option("--failed", is_flag=True, help="Only its failed and cancelled jobs, and what comes after them.")
@click.option("--from", "from_job", metavar="JOB", help="Only this job, and what comes after it.")
@click.option("--key", default="", help="Idempotency key: the same key is the same rerun.")
@url_option
@json_flag
def rerun(pipeline: str, failed: bool, from_job: str | None, key: str, url: str, as_json: bool) -> int:
    """Run a pipeline that has ended again, as a new one, and print its id.

    It runs what the first ran, with the same inputs, variables and commit. Jobs that are not run again keep
    their end and their logs. PIPELINE is an id, or `last`; JOB is an id, a name in it, or PIPELINE/NAME.
    """
    if failed and from_job is not None:
        raise click.UsageError("--failed and --from exclude each other")
    client = connect(url)
    pipeline_id = find_pipeline(client, pipeline)
    job_id = "" if from_job is None else _job_of(client, pipeline_id, from_job)
    key = key or uuid4()
    patience = Patience(RERUN_SECONDS, tell=lambda text: click.echo(text, err=True))
    receipt = patience.call(lambda: client.rerun(pipeline_id, failed=failed, from_job=job_id, key=key))
    if as_json:
        print_json(receipt)
    else:
        click.echo(receipt["pipeline_id"])
    return exit_codes.OK


def _job_of(client: Client, pipeline_id: str, text: str) -> str:
    """The id of a job of this pipeline. Raises RejectInput."""
    if is_uuid(text.strip().lower()):
        return text.strip().lower()
    # A name may have slashes: whether it is one is known best by the pipeline.
    if "/" in text and all(job["name"] != text for job in client.jobs(pipeline_id)):
        job = find_job(client, text)
    else:
        job = find_job(client, f"{pipeline_id}/{text}")
    if job["pipeline_id"] != pipeline_id:
        hint = f"it belongs to pipeline {job['pipeline_id']}"
        raise RejectInput(Problem(f"pipeline {pipeline_id} has no job {text!r}", hint=hint))
    return job["job_id"]
