"""`penstock lint`."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import TopologicalSorter
from typing import IO, Any

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.cli.pipeline_file import PipelineFile, read_pipeline_file
from penstock.cli.problems import show_problems
from penstock.cli.words import plural
from penstock.core.errors import Problem, RejectInput
from penstock.definition import Definition


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_flag
def lint(files: Sequence[str], as_json: bool) -> int:
    """Check pipeline files as the gateway would, without one: all problems at once, each with its place.

    A FILE that ends in .json is JSON, others are YAML; - is standard input. Exit code 2 when there are
    problems.
    """
    findings: list[dict[str, Any]] = []
    for name in files:
        file = read_pipeline_file(name)
        try:
            definition = file.check()
        except RejectInput as error:
            findings.append({"file": file.name, "ok": False, "problems": error.problems})
            if not as_json:
                report(file, error.problems)
        else:
            found = {"jobs": len(definition.jobs), "levels": levels(definition), "name": definition.name}
            findings.append({"file": file.name, "ok": True, **found, "problems": ()})
            if not as_json:
                click.echo(f"{file.name}: {click.style('ok', fg='green')}, {summary(definition)}")
    if as_json:
        print_json({"files": [msgspec.to_builtins(finding) for finding in findings]})
    return exit_codes.OK if all(finding["ok"] for finding in findings) else exit_codes.USAGE


class ProblemsInFile(click.ClickException):
    """Ends a command that cannot go on with this file."""

    exit_code = exit_codes.USAGE

    def __init__(self, file: PipelineFile, problems: Sequence[Problem]) -> None:
        super().__init__(plural(len(problems), "problem"))
        self._file = file
        self._problems = problems

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - as click has it
        """Problems go to stderr."""
        report(self._file, self._problems)


def report(file: PipelineFile, problems: Sequence[Problem]) -> None:
    """Show the problems of a file on stderr."""
    click.echo(show_problems(problems, file.name, file.text), err=True)
    click.echo(f"{file.name}: {plural(len(problems), 'problem')}", err=True)


def summary(definition: Definition) -> str:
    """`9 jobs on 3 levels`."""
    return f"{plural(len(definition.jobs), 'job')} on {plural(levels(definition), 'level')}"


def levels(definition: Definition) -> int:
    """How many jobs the longest path has."""
    parents: dict[int, list[int]] = {at: [] for at in range(len(definition.jobs))}
    for parent, child in definition.edges:
        parents[child].append(parent)
    depth: dict[int, int] = {}
    for job in TopologicalSorter(parents).static_order():
        depth[job] = 1 + max((depth[parent] for parent in parents[job]), default=0)
    return max(depth.values(), default=0)
