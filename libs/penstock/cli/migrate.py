"""`penstock migrate`."""

from __future__ import annotations

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.cli.target import target_settings
from penstock.runtime.settings import PostgresSettings


@click.command()
@click.option("--check", is_flag=True, help="Only list what would run; exit code 1 when there is any.")
@json_flag
def migrate(check: bool, as_json: bool) -> int:
    """Bring the database's schema up to this version. It may be repeated, and run by several at once."""
    from penstock.store import migrate as migrations

    dsn = target_settings(PostgresSettings).postgres_dsn
    files = migrations.pending(dsn) if check else migrations.migrate(dsn)
    if as_json:
        print_json({"pending" if check else "applied": files})
    else:
        verb = "would apply" if check else "applied"
        click.echo("\n".join(f"{verb} {file}" for file in files) or "the schema is up to date")
    return exit_codes.PIPELINE_FAILED if check and files else exit_codes.OK
