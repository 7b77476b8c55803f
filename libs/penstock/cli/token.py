"""`penstock token create|ls|revoke`: directly in Postgres, as whoever may reach it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.tenant import database, require_tenant
from penstock.cli.words import ago, timestamp
from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import is_uuid
from penstock.runtime.clock import SystemClock

SCOPES = ("read", "write", "admin")


@click.group()
def token() -> None:
    """Make, list and revoke the tokens by which clients call the gateway."""


@token.command()
@click.option("--tenant", required=True, help="Whom it speaks for.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("read", "write"),
    show_default=True, help="What it may do; repeatable.",
)  # fmt: skip
@click.option("--name", default="", help="What it is for.")
@json_flag
def create(tenant: str, scopes: Sequence[str], name: str, as_json: bool) -> int:
    """Make a token and print it: it is shown only now, as only its SHA-256 is kept."""
    with database() as db:
        from penstock.store.tenants import add_token, new_token

        require_tenant(db, tenant)
        text = new_token()
        token_id = add_token(db, text, tenant=tenant, name=name, scopes=list(dict.fromkeys(scopes)))
    if as_json:
        print_json({"token": text, "token_id": token_id, "tenant": tenant, "scopes": scopes, "name": name})
    else:
        click.echo(text)
        click.echo(f"its id is {token_id}; the token itself is shown only now", err=True)
    return exit_codes.OK


@token.command()
@click.option("--tenant", help="Only those of this tenant.")
@json_flag
def ls(tenant: str | None, as_json: bool) -> int:
    """List tokens, without their secrets."""
    with database() as db:
        from penstock.store.tenants import list_tokens

        found = list_tokens(db, tenant)
    if as_json:
        print_json({"tokens": found})
        return exit_codes.OK
    now = SystemClock().now()
    rows = [
        (
            one["token_id"], one["tenant"], one["name"], ", ".join(one["scopes"]),
            ago(now - timestamp(one["created_at"])), "revoked" if one["revoked_at"] else "good",
        )
        for one in found
    ]  # fmt: skip
    print_table(("token id", "tenant", "name", "scopes", "created", "state"), rows)
    return exit_codes.OK


@token.command()
@click.argument("token_id")
@json_flag
def revoke(token_id: str, as_json: bool) -> int:
    """Refuse a token from now on; one that is revoked already is left as it is."""
    token_id = token_id.strip().lower()
    if not is_uuid(token_id):
        hint = "its id as `penstock token ls` shows it, not the token itself"
        raise RejectInput(Problem("this is not the id of a token", hint=hint))
    with database() as db:
        from penstock.store.tenants import list_tokens, revoke_token

        if not any(one["token_id"] == token_id for one in list_tokens(db)):
            raise RejectInput(Problem(f"there is no token {token_id}", hint="`penstock token ls` lists them"))
        revoked = revoke_token(db, token_id)
    if as_json:
        print_json({"token_id": token_id, "revoked": revoked})
    else:
        click.echo("revoked" if revoked else "it was revoked already")
    return exit_codes.OK
