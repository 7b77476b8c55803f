"""`penstock doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.cli.target import target_environment
from penstock.core.errors import RetryLater
from penstock.local.doctor import examine
from penstock.runtime import settings

COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command()
@json_flag
def doctor(as_json: bool) -> int:
    """Check this machine (disk, memory, ports, clock, extended attributes, versions, jars).

    When a stack runs, or PENSTOCK_* variables name servers, their topics and migrations too. Exit code 1 when
    a check fails.
    """
    try:
        environ = target_environment()
    except RetryLater:
        environ = settings.environment()
    findings = examine(Path.cwd(), environ)
    failed = any(finding.level == "failure" for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": findings})
    else:
        for finding in findings:
            click.secho(f"{finding.level:<8}", fg=COLOURS[finding.level], nl=False)
            hint = f" -> {finding.hint}" if finding.hint else ""
            click.echo(f" {finding.check:<11} {finding.detail}{hint}")
    return exit_codes.PIPELINE_FAILED if failed else exit_codes.OK
