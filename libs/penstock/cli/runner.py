"""`penstock runner`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from penstock.cli.output import json_flag
from penstock.cli.target import target_environment
from penstock.local import folder as folders


@click.command()
@click.option("--pool", help="The pool whose jobs it takes [default: default].")
@click.option("--slots", type=click.IntRange(1, 10_000), help="Jobs that it runs at once [default: 8].")
@click.option("--labels", metavar="A,B", help="Labels that jobs may ask for.")
@click.option("--name", help="Its name in statuses; its own folder for reports and logs.")
@json_flag
def runner(pool: str | None, slots: int | None, labels: str | None, name: str | None, as_json: bool) -> None:
    """Run one more runner for the stack that runs here, or for the servers that PENSTOCK_* variables name.

    It goes on until SIGTERM or Ctrl-C and lets its jobs end; a second signal ends it at once. Every setting
    of a runner may be given as a variable too. With --json its log is JSON.
    """
    given = {
        "PENSTOCK_POOL": pool,
        "PENSTOCK_SLOTS": slots,
        "PENSTOCK_LABELS": labels,
        "PENSTOCK_NAME": name,
        "PENSTOCK_INSTANCE": name,
        "PENSTOCK_LOG_FORMAT": "json" if as_json else None,
    }
    environ = {**_folder(), **target_environment()}
    environ.update({variable: str(value) for variable, value in given.items() if value is not None})
    # The process becomes the runner: signals reach it without anybody in between.
    os.execve(sys.executable, [sys.executable, "-m", "penstock", "service", "runner"], environ)  # noqa: S606


def _folder() -> dict[str, str]:
    """Runners of one stack keep their files side by side, wherever below it they are started."""
    found = folders.find(Path.cwd())
    return {} if found is None else {"PENSTOCK_STATE_DIR": str(found.path / "runner")}
