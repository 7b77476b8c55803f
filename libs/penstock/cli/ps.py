"""`penstock ps`."""

from __future__ import annotations

from pathlib import Path

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, megabytes, print_json, print_table
from penstock.core.errors import RetryLater
from penstock.local.folder import find, is_held
from penstock.local.process import memory_of
from penstock.local.record import ProcessRecord, read_record


@click.command()
@json_flag
def ps(as_json: bool) -> int:
    """Show the processes of the stack that runs in this folder or above it.

    RSS counts a process with all its descendants, in bytes with --json.
    """
    folder = find(Path.cwd())
    record = read_record(folder) if folder and is_held(folder) else None
    if record is None:
        raise RetryLater("no stack runs here: start one with `penstock up`")
    supervisor = record.supervisor
    own = ProcessRecord("supervisor", 0, supervisor.pid, supervisor.started, 0, "ready", 0, "")
    rows = [_row(process) for process in (own, *record.components)]
    rows[0]["rss"] = memory_of(supervisor.pid, alone=True)
    if as_json:
        print_json({"components": rows})
        return exit_codes.OK
    columns = ("component", "pid", "port", "state", "restarts", "RSS")
    print_table(
        columns,
        [
            (
                f"{row['name']}-{row['replica']}", row["pid"] or "", row["port"] or "", row["state"],
                row["restarts"], megabytes(int(str(row["rss"]))),
            )
            for row in rows
        ],
    )  # fmt: skip
    return exit_codes.OK


def _row(process: ProcessRecord) -> dict[str, object]:
    return {
        "name": process.name,
        "replica": process.replica,
        "pid": process.pid,
        "port": process.port,
        "state": process.state,
        "restarts": process.restarts,
        "rss": memory_of(process.pid) if process.pid else 0,
        "log": process.log,
    }
