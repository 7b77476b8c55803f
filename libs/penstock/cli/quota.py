"""`penstock quota ls|set|rm`: directly in Postgres, as whoever may reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli import exit_codes
from penstock.cli.operators import EVERYBODY, Most, MostType, actor
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.tenant import database, require_tenant
from penstock.core.errors import Problem, RejectInput

if TYPE_CHECKING:
    from penstock.store.database import Database

NEW = {"weight": 1.0, "minimum": 0, "running": None, "queued": None}


@click.group()
def quota() -> None:
    """Say what tenants may have of pools: shares, minimums and bounds. It is heeded within a few seconds."""


@quota.command()
@click.option("--tenant", help="Only those of this tenant.")
@json_flag
def ls(tenant: str | None, as_json: bool) -> int:
    """List quotas; a `*` stands for every tenant without a row of its own, or for all pools together."""
    with database() as db:
        found = [one for one in _rows(db) if tenant in (None, one["tenant"])]
    if as_json:
        print_json({"quotas": found})
    else:
        columns = ("tenant", "pool", "weight", "minimum", "running", "queued")
        print_table(columns, [tuple(_cell(one[name]) for name in columns) for one in found])
    return exit_codes.OK


@quota.command("set")
@click.argument("tenant")
@click.argument("pool", default=EVERYBODY)
@click.option(
    "--weight", type=click.FloatRange(0, 1e6, min_open=True),
    help="Its part of the slot-time against others that wait [1].",
)  # fmt: skip
@click.option(
    "--minimum", type=click.IntRange(0, 1_000_000), help="Slots that it gets before others, of one pool [0]."
)
@click.option("--running", type=MostType(), help="Most jobs that run at once [none].")
@click.option(
    "--queued", type=MostType(), help="Most unfinished jobs; others are refused at the door [none]."
)
@json_flag
def set_(
    tenant: str,
    pool: str,
    weight: float | None,
    minimum: int | None,
    running: Most | None,
    queued: Most | None,
    as_json: bool,
) -> int:
    """Set quotas of TENANT in POOL; what is not named stays as it is.

    TENANT `*` is every one without a row of its own, POOL `*`, or none, all pools together:
    `penstock quota set '*' gpu --running 0` and a row for one tenant make pool gpu that tenant's own.
    """
    given: dict[str, Any] = {"weight": weight, "minimum": minimum}
    given |= {"running": running, "queued": queued}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        raise click.UsageError("say what to set: --weight, --minimum, --running or --queued")
    given = {name: value.bound if isinstance(value, Most) else value for name, value in given.items()}
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import set_quota

        if tenant != EVERYBODY:
            require_tenant(db, tenant)
        row = {**NEW, **_row(db, tenant, pool), **given}
        _check(tenant, pool, row)
        set_quota(db, Changes(), tenant, pool, **row, actor=actor())
    whole = {"tenant": tenant, "pool": pool, **row}
    if as_json:
        print_json({"quota": whole})
    else:
        click.echo(_sentence(whole))
    return exit_codes.OK


@quota.command()
@click.argument("tenant")
@click.argument("pool", default=EVERYBODY)
@json_flag
def rm(tenant: str, pool: str, as_json: bool) -> int:
    """Forget the quotas of TENANT in POOL, or those of all pools together."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import drop_quota

        removed = drop_quota(db, Changes(), tenant, pool, actor=actor())
    if as_json:
        print_json({"tenant": tenant, "pool": pool, "removed": removed})
    else:
        click.echo("forgotten" if removed else f"there was no quota of {tenant} in pool {pool}")
    return exit_codes.OK


def _rows(db: Database) -> list[dict[str, Any]]:
    from penstock.store.policies import policies

    return policies(db)["quotas"]


def _row(db: Database, tenant: str, pool: str) -> dict[str, Any]:
    """What is set already; empty when nothing is."""
    for one in _rows(db):
        if (one["tenant"], one["pool"]) == (tenant, pool):
            return {name: one[name] for name in NEW}
    return {}


def _check(tenant: str, pool: str, row: dict[str, Any]) -> None:
    """Raise RejectInput for what nobody would heed."""
    if row["queued"] is not None and pool != EVERYBODY:
        hint = "leave the pool out: unfinished jobs are counted over all"
        raise RejectInput(Problem("a bound for unfinished jobs is of all pools", "queued", hint=hint))
    if row["minimum"] and EVERYBODY in (tenant, pool):
        hint = "name the tenant, and the pool whose slots it gets before others"
        raise RejectInput(Problem("a minimum is of one tenant in one pool", "minimum", hint=hint))
    if row["running"] is not None and row["minimum"] > row["running"]:
        text = f"at least {row['minimum']} and at most {row['running']} is nothing"
        raise RejectInput(Problem(text, "minimum", hint="raise --running or lower --minimum"))


def _cell(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _sentence(row: dict[str, Any]) -> str:
    who = "every tenant without a row of its own" if row["tenant"] == EVERYBODY else row["tenant"]
    where = "all pools together" if row["pool"] == EVERYBODY else f"pool {row['pool']}"
    parts = [f"weight {row['weight']:g}"]
    parts += [f"at least {row['minimum']} running"] if row["minimum"] else []
    parts += [f"at most {row['running']} running"] if row["running"] is not None else []
    parts += [f"at most {row['queued']} unfinished"] if row["queued"] is not None else []
    return f"{who}, {where}: {', '.join(parts)}"
