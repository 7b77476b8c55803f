"""`penstock limit ls|set|rm|close`: directly in Postgres, as whoever may reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli import exit_codes
from penstock.cli.operators import actor
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.tenant import database, require_tenant
from penstock.cli.words import span
from penstock.core.errors import Problem, RejectInput
from penstock.definition.limits import MAX_NAME_BYTES
from penstock.definition.names import fault_in, normalize

if TYPE_CHECKING:
    from penstock.store.database import Database
    from penstock.store.policies import LimitKind

DAY_SECONDS = 86_400.0
kind_argument = click.argument("kind", type=click.Choice(("tenant", "pool", "lock")))


class _Name(click.ParamType):
    """A name, in the form in which names are compared."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Its NFC form."""
        text = normalize(value)
        if fault := fault_in(text, MAX_NAME_BYTES):
            self.fail(fault, param, ctx)
        return text


limit_name = _Name()
name_argument = click.argument("name", type=limit_name)
tenant_option = click.option("--tenant", default="", help="Whose lock it is; needed for locks.")


@click.group()
def limit() -> None:
    """Bound how many jobs start in a second: of a tenant, of a pool, or of those that take a lock.

    It is heeded within a few seconds.
    """


@limit.command()
@json_flag
def ls(as_json: bool) -> int:
    """List limits, and when those that are closed open."""
    with database() as db:
        from penstock.store.policies import policies

        found = policies(db)["limits"]
    if as_json:
        print_json({"limits": found})
    else:
        print_table(("kind", "name", "tenant", "per second", "burst", "state"), [_row(one) for one in found])
    return exit_codes.OK


@limit.command("set")
@kind_argument
@name_argument
@click.option(
    "--per-second", type=click.FloatRange(0, 1e6, min_open=True), required=True,
    help="Jobs that may start in a second; 0.1 is one in ten seconds.",
)  # fmt: skip
@click.option(
    "--burst", type=click.IntRange(1, 1_000_000), default=1, show_default=True,
    help="Jobs that may start at once after a pause.",
)  # fmt: skip
@tenant_option
@json_flag
def set_(kind: LimitKind, name: str, per_second: float, burst: int, tenant: str, as_json: bool) -> int:
    """Set the limit of the tenant, pool or lock NAME."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import set_limit

        owner = _owner(db, kind, name, tenant)
        set_limit(
            db, Changes(), owner, kind, name, per_second=per_second, burst=burst, actor=actor()
        )  # fmt: skip
    if as_json:
        row = {"tenant": owner, "kind": kind, "name": name, "per_second": per_second, "burst": burst}
        print_json({"limit": row})
    else:
        click.echo(f"{kind} {name}: {per_second:g} jobs a second, {burst} at once after a pause")
    return exit_codes.OK


@limit.command()
@kind_argument
@name_argument
@tenant_option
@json_flag
def rm(kind: LimitKind, name: str, tenant: str, as_json: bool) -> int:
    """Forget the limit of the tenant, pool or lock NAME; one that is closed is open then."""
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import drop_limit

        owner = _owner(db, kind, name, tenant)
        removed = drop_limit(db, Changes(), owner, kind, name, actor=actor())
    if as_json:
        print_json({"tenant": owner, "kind": kind, "name": name, "removed": removed})
    else:
        click.echo("forgotten" if removed else f"there was no limit of {kind} {name}")
    return exit_codes.OK


@limit.command()
@name_argument
@click.argument("seconds", type=click.FloatRange(0, DAY_SECONDS))
@tenant_option
@json_flag
def close(name: str, seconds: float, tenant: str, as_json: bool) -> int:
    """Start no job that takes the lock NAME for SECONDS, as after a 429 with Retry-After.

    One that is closed for longer stays so. `penstock limit rm lock NAME` opens it, and forgets its rate.
    """
    with database() as db:
        from penstock.store.changes import Changes
        from penstock.store.policies import close_limit

        owner = _owner(db, "lock", name, tenant)
        close_limit(db, Changes(), owner, name, seconds, actor=actor())
    if as_json:
        print_json({"tenant": owner, "kind": "lock", "name": name, "closed_seconds": seconds})
    else:
        click.echo(f"no job of {owner} that takes the lock {name} starts for {span(seconds)}")
    return exit_codes.OK


def _owner(db: Database, kind: LimitKind, name: str, tenant: str) -> str:
    """The tenant whose limit it is; of kind pool everybody's. Raises RejectInput."""
    from penstock.store.policies import EVERYBODY

    if kind == "lock" and not tenant:
        raise RejectInput(Problem("a lock is a tenant's", "tenant", hint="say whose: --tenant NAME"))
    if kind != "lock" and tenant and (kind, tenant) != ("tenant", name):
        raise RejectInput(
            Problem(f"the limit of a {kind} is of no other tenant", "tenant", hint="leave it out")
        )
    owner = {"lock": tenant, "tenant": name, "pool": EVERYBODY}[kind]
    if kind != "pool":
        require_tenant(db, owner)
    return owner


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    rate = "any" if one["per_second"] is None else f"{one['per_second']:g}"
    state = f"opens in {span(one['opens_in'])}" if one["opens_in"] > 0 else "open"
    return (one["kind"], one["name"], one["tenant"], rate, one["burst"], state)
