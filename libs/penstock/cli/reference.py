"""How pipelines and jobs are named on the command line.

A PIPELINE is an id, or `last`: the newest of the tenant. A JOB is an id, or PIPELINE/NAME; names may have
any characters, slashes too, as only the first slash parts them.
"""

from __future__ import annotations

import difflib
import unicodedata
from typing import NamedTuple

from penstock.client import Client
from penstock.client.records import Job
from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import is_uuid

LAST = "last"


class JobReference(NamedTuple):
    """A job: its own id, or a pipeline (an id or `last`) and the job's name in it."""

    job_id: str = ""
    pipeline: str = ""
    name: str = ""


def parse_pipeline(text: str) -> str:
    """An id in lower case, or `last`. Raises RejectInput."""
    lower = text.strip().lower()
    if lower == LAST or is_uuid(lower):
        return lower
    raise RejectInput(
        Problem(f"{text!r} is not a pipeline", hint="an id as `penstock ls` shows it, or `last`")
    )


def parse_job(text: str) -> JobReference:
    """A reference to a job. Raises RejectInput."""
    pipeline, slash, name = text.partition("/")
    if not slash:
        job_id = pipeline.strip().lower()
        if is_uuid(job_id):
            return JobReference(job_id=job_id)
        hint = "a job's id, or PIPELINE/NAME such as `last/test`"
        raise RejectInput(Problem(f"{text!r} is not a job", hint=hint))
    if not name:
        raise RejectInput(Problem(f"{text!r} names no job", hint="write its name behind the slash"))
    return JobReference(pipeline=parse_pipeline(pipeline), name=name)


def find_pipeline(client: Client, text: str) -> str:
    """The id of a PIPELINE. Raises RejectInput."""
    pipeline = parse_pipeline(text)
    if pipeline != LAST:
        return pipeline
    newest = next(client.pipelines(limit=1), None)
    if newest is None:
        raise RejectInput(Problem("there is no pipeline yet", hint="`penstock run FILE` makes one"))
    return newest["pipeline_id"]


def find_job(client: Client, text: str) -> Job:
    """A JOB as the gateway has it, with its attempts. Raises RejectInput."""
    reference = parse_job(text)
    if reference.job_id:
        return client.job(reference.job_id)
    pipeline_id = find_pipeline(client, reference.pipeline)
    names = {_normal(job["name"]): job["job_id"] for job in client.jobs(pipeline_id)}
    job_id = names.get(_normal(reference.name))
    if job_id is None:
        raise RejectInput(_unknown(reference.name, pipeline_id, list(names)))
    return client.job(job_id)


def _unknown(name: str, pipeline_id: str, names: list[str]) -> Problem:
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif names:
        hint = f"it has {', '.join(names[:10])}" + (" …" if len(names) > 10 else "")
    else:
        hint = "it has no jobs"
    return Problem(f"pipeline {pipeline_id} has no job {name!r}", hint=hint)


def _normal(name: str) -> str:
    """The form by which names are compared."""
    return unicodedata.normalize("NFC", name)
