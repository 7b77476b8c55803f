"""`penstock pool ls|pause|resume|overtaking`: directly in Postgres, as whoever may reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli import exit_codes
from penstock.cli.operators import actor, by_option
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.tenant import database
from penstock.cli.words import ago, timestamp
from penstock.runtime.clock import SystemClock

if TYPE_CHECKING:
    from penstock.store.database import Database


@click.group()
def pool() -> None:
    """List pools, pause them, and let jobs overtake in them. Dispatchers heed it within a few seconds."""


@pool.command()
@json_flag
def ls(as_json: bool) -> int:
    """List pools: runners that take jobs, slots, the queue, and who paused them."""
    with database() as db:
        from penstock.store.fleet import pools

        found = pools(db)
    if as_json:
        print_json({"pools": found})
        return exit_codes.OK
    now = SystemClock().now()
    columns = ("pool", "runners", "taken", "slots", "queued", "oldest", "overtaking", "state")
    print_table(columns, [_row(one, now) for one in found])
    return exit_codes.OK


@pool.command()
@click.argument("name")
@by_option
@json_flag
def pause(name: str, by: str, as_json: bool) -> int:
    """Start no job of the pool NAME until `resume`; what runs goes on, what comes is queued."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import pause_pool

        _warn(db, name)
        pause_pool(db, Changes(), name, by=by, actor=actor())
    if as_json:
        print_json({"pool": name, "paused_by": by})
    else:
        click.echo(f"pool {name} is paused; what runs goes on")
    return exit_codes.OK


@pool.command()
@click.argument("name")
@json_flag
def resume(name: str, as_json: bool) -> int:
    """Let jobs of the pool NAME start again."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import resume_pool

        resumed = resume_pool(db, Changes(), name, actor=actor())
    if as_json:
        print_json({"pool": name, "resumed": resumed})
    else:
        click.echo(f"pool {name} goes on" if resumed else f"pool {name} was not paused")
    return exit_codes.OK


@pool.command()
@click.argument("name")
@click.argument("most", metavar="N", type=click.IntRange(0, 1_000_000))
@json_flag
def overtaking(name: str, most: int, as_json: bool) -> int:
    """Let N younger jobs take a lock before one that waits for another lock as well; 0: strictly in turn."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import set_overtaking

        _warn(db, name)
        set_overtaking(db, Changes(), name, most, actor=actor())
    if as_json:
        print_json({"pool": name, "overtaking": most})
    else:
        click.echo(f"in pool {name} {most} may overtake a job that waits for a lock")
    return exit_codes.OK


def _warn(db: Database, name: str) -> None:
    """It may be meant for later; a slip of the pen would show nowhere else."""
    from penstock.store.fleet import pools

    known = [one["pool"] for one in pools(db)]
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there are none yet"
        click.echo(f"note: no runner and no job is in a pool {name!r} now ({there})", err=True)


def _row(one: dict[str, Any], now: float) -> tuple[object, ...]:
    state = "open"
    if one["paused_at"]:
        state = f"paused by {one['paused_by']} {ago(now - timestamp(one['paused_at']))}"
    oldest = ago(now - timestamp(one["oldest_at"])) if one["oldest_at"] else ""
    return (
        one["pool"], one["runners"], one["taken"], one["slots"], one["queued"], oldest, one["overtaking"],
        state,
    )  # fmt: skip
