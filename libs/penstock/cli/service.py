"""`penstock service NAME`."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.core.errors import Problem, RejectInput

GROUP = "penstock.services"


@click.command()
@click.argument("name", required=False)
@json_flag
def service(name: str | None, as_json: bool) -> int:
    """Run one process of the service NAME until SIGTERM; without NAME, list the services.

    Its settings are PENSTOCK_* variables; any number of processes of one service may run.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name is None:
        if as_json:
            print_json({"services": sorted(found)})
        else:
            click.echo("\n".join(sorted(found)))
        return exit_codes.OK
    if name not in found:
        raise RejectInput(_unknown(name, sorted(found)))
    return _run(found[name])


def _run(point: EntryPoint) -> int:
    try:
        body = point.load()
    except ModuleNotFoundError as error:
        hint = "install its extra: pip install 'penstock[services]'"
        raise RejectInput(Problem(f"service {point.name} needs {error.name}", hint=hint)) from None
    code = body()
    return code if isinstance(code, int) else exit_codes.OK


def _unknown(name: str, names: list[str]) -> Problem:
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return Problem(f"no service is called {name!r}", hint=f"{meant}there are {', '.join(names)}")
