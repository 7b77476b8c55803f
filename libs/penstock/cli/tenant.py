"""`penstock tenant ls|create`: directly in Postgres, as whoever may reach it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from penstock.cli import exit_codes
from penstock.cli.extras import extra
from penstock.cli.output import json_flag, print_json
from penstock.cli.target import target_settings
from penstock.core.errors import Problem, RejectInput
from penstock.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    from penstock.store.database import Database


@click.group()
def tenant() -> None:
    """List tenants and make new ones."""


@tenant.command()
@json_flag
def ls(as_json: bool) -> int:
    """List all tenants."""
    with database() as db:
        from penstock.store.tenants import list_tenants

        names = list_tenants(db)
    if as_json:
        print_json({"tenants": names})
    else:
        click.echo("\n".join(names))
    return exit_codes.OK


@tenant.command()
@click.argument("name")
@json_flag
def create(name: str, as_json: bool) -> int:
    """Register a tenant; one that is there already is left as it is."""
    from penstock.definition.request import TENANT

    if not TENANT.fullmatch(name):
        raise RejectInput(Problem(f"{name!r} is not a tenant's name", hint="1 to 63 of a-z, 0-9 and -"))
    with database() as db:
        from penstock.store.tenants import create_tenant

        new = create_tenant(db, name)
    if as_json:
        print_json({"tenant": name, "created": new})
    else:
        click.echo(f"{name} is registered" if new else f"{name} was there already")
    return exit_codes.OK


def require_tenant(db: Database, tenant: str) -> None:
    """Raise RejectInput when nobody is registered under this name."""
    from penstock.store.tenants import known_tenants

    if not known_tenants(db, [tenant]):
        hint = f"`penstock tenant create {tenant}` registers it"
        raise RejectInput(Problem(f"there is no tenant {tenant!r}", hint=hint))


@contextmanager
def database() -> Iterator[Database]:
    """The Postgres that the environment or the running stack names."""
    with extra("services"):
        from penstock.store.database import Database

    db = Database(target_settings(PostgresSettings).postgres_dsn, "penstock-cli")
    try:
        yield db
    finally:
        db.close()
