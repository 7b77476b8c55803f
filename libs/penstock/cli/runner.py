"""`penstock runner`: starts one; `ls|drain|quarantine|resume` are about those that run."""

from __future__ import annotations

import difflib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from penstock.cli import exit_codes
from penstock.cli.operators import HEEDED_SECONDS, actor, by_option
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.target import target_environment
from penstock.cli.tenant import database
from penstock.cli.words import ago, plural, timestamp
from penstock.core.errors import Problem, RejectInput
from penstock.local import folder as folders
from penstock.runtime.clock import Clock, SystemClock

if TYPE_CHECKING:
    from penstock.store.database import Database

LOOK_SECONDS: Final = 0.5
SESSION_CHARACTERS: Final = 8
"""Of its id, to tell two sessions of a name apart."""

Order = Literal["DRAINING", "QUARANTINED"]


@click.group(invoke_without_command=True)
@click.option("--pool", help="The pool whose jobs it takes [default: default].")
@click.option(
    "--slots", type=click.IntRange(0, 10_000),
    help="Jobs that it runs at once; 0: it takes none and only sends what its folder still has [default: 8].",
)  # fmt: skip
@click.option("--labels", metavar="A,B", help="Labels that jobs may ask for.")
@click.option("--name", help="Its name in statuses; its own folder for reports and logs.")
@json_flag
@click.pass_context
def runner(
    ctx: click.Context,
    pool: str | None,
    slots: int | None,
    labels: str | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Run one more runner for the stack that runs here, or for the servers that PENSTOCK_* variables name.

    It goes on until SIGTERM or Ctrl-C and lets its jobs end; a second signal ends it at once. Every setting
    of a runner may be given as a variable too. With --json its log is JSON.

    The commands below start none: they are about the runners of the installation.
    """
    given = {
        "PENSTOCK_POOL": pool,
        "PENSTOCK_SLOTS": slots,
        "PENSTOCK_LABELS": labels,
        "PENSTOCK_NAME": name,
        "PENSTOCK_INSTANCE": name,
        "PENSTOCK_LOG_FORMAT": "json" if as_json else None,
    }
    told = {variable: str(value) for variable, value in given.items() if value is not None}
    if ctx.invoked_subcommand is not None:
        if told:
            raise click.UsageError(f"options of `{ctx.invoked_subcommand}` stand behind it")
        return
    environ = {**_folder(), **target_environment(), **told}
    # The process becomes the runner: signals reach it without anybody in between.
    os.execve(sys.executable, [sys.executable, "-m", "penstock", "service", "runner"], environ)  # noqa: S606


@runner.command()
@click.option("--all", "everybody", is_flag=True, help="Also those that are gone.")
@json_flag
def ls(everybody: bool, as_json: bool) -> int:
    """List runners: what they run, since when they were heard of, and who holds them back."""
    with database() as db:
        from penstock.store.fleet import runners

        found = [one for one in runners(db) if everybody or one["order"] or one["state"] != "OFFLINE"]
    if as_json:
        print_json({"runners": found})
        return exit_codes.OK
    now = SystemClock().now()
    columns = ("runner", "session", "pool", "state", "jobs", "slots", "heard", "labels")
    print_table(columns, [_row(one, now) for one in found])
    return exit_codes.OK


@runner.command()
@click.argument("name")
@click.option("--wait", is_flag=True, help="Return once it runs nothing.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), help="With --wait: give up after so long, with exit code 1."
)
@by_option
@json_flag
def drain(name: str, wait: bool, seconds: float | None, by: str, as_json: bool) -> int:
    """Give the runner NAME no more jobs, until `resume`; what it runs may end.

    That holds for every session of this name, also for later ones. With --wait it takes a few seconds at
    least, for dispatchers to hear of it.
    """
    with database() as db:
        from penstock.store.fleet import living

        _order(db, name, "DRAINING", by)
        left = living(db, name)
        if wait:
            left = wait_until_idle(lambda: living(db, name), SystemClock(), seconds, _progress(name))
    if as_json:
        print_json({"runner": name, "state": "DRAINING", "jobs": left})
    elif wait and left:
        click.echo(f"{name} still runs {plural(left, 'job')}; it gets no more", err=True)
    else:
        click.echo(
            f"{name} runs nothing" if wait else f"{name} gets no more jobs; it runs {plural(left, 'job')}"
        )
    return exit_codes.PIPELINE_FAILED if wait and left else exit_codes.OK


@runner.command()
@click.argument("name")
@by_option
@json_flag
def quarantine(name: str, by: str, as_json: bool) -> int:
    """Give the runner NAME no more jobs, until `resume`, and mark it as one to be looked at."""
    with database() as db:
        _order(db, name, "QUARANTINED", by)
    if as_json:
        print_json({"runner": name, "state": "QUARANTINED"})
    else:
        click.echo(f"{name} is in quarantine: it gets no more jobs")
    return exit_codes.OK


@runner.command()
@click.argument("name")
@json_flag
def resume(name: str, as_json: bool) -> int:
    """Give the runner NAME jobs again."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import resume_runner

        _require(db, name)
        resumed = resume_runner(db, Changes(), name, actor=actor())
    if as_json:
        print_json({"runner": name, "resumed": resumed})
    else:
        click.echo(f"{name} gets jobs again" if resumed else f"nobody held {name} back")
    return exit_codes.OK


def wait_until_idle(
    count: Callable[[], int], clock: Clock, seconds: float | None, tell: Callable[[int], None]
) -> int:
    """Look until `count` is 0 and nobody gives it more, or for `seconds` while it is not; the last count.

    `tell` is called with every count that is another than the one before.
    """
    began, never = clock.monotonic(), threading.Event()
    told: int | None = None
    while True:
        left = count()
        if left != told:
            tell(left)
            told = left
        waited = clock.monotonic() - began
        if waited >= HEEDED_SECONDS if not left else seconds is not None and waited >= seconds:
            return left
        clock.sleep(LOOK_SECONDS, never)


def _progress(name: str) -> Callable[[int], None]:
    return lambda left: click.echo(f"{name} runs {plural(left, 'job')}", err=True)


def _order(db: Database, name: str, state: Order, by: str) -> None:
    from penstock.store.changes import Changes
    from penstock.store.policies import order_runner

    _require(db, name)
    order_runner(db, Changes(), name, state, by=by, actor=actor())


def _require(db: Database, name: str) -> None:
    """Raise RejectInput when no runner has this name, and nobody has said anything about it."""
    from penstock.store.fleet import runners

    names = {one["name"] for one in runners(db)}
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        hint = f"{meant}`penstock runner ls --all` lists them"
        raise RejectInput(Problem(f"no runner is called {name!r}", hint=hint))


def _row(one: dict[str, Any], now: float) -> tuple[object, ...]:
    order = one["order"]
    state = f"{order['state']} by {order['by']}" if order else one["state"]
    if one["session_id"] is None:
        return (one["name"], "", "", state, "", "", "not since a day", "")
    heard = ago(now - timestamp(one["seen_at"]))
    session = one["session_id"][-SESSION_CHARACTERS:]
    return (
        one["name"], session, one["pool"] or "", state, one["attempts"], one["slots"], heard,
        ", ".join(one["labels"]),
    )  # fmt: skip


def _folder() -> dict[str, str]:
    """Runners of one stack keep their files side by side, wherever below it they are started."""
    found = folders.find(Path.cwd())
    return {} if found is None else {"PENSTOCK_STATE_DIR": str(found.path / "runner")}
