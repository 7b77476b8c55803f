"""Tenants and their bearer tokens. A token is 32 random bytes; only its SHA-256 is stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from penstock.core.ids import RandomBytes
from penstock.core.ids import uuid4 as new_id
from penstock.store.database import Database

SCOPES: Final = ("read", "write", "admin")
TOKEN_PREFIX: Final = "penstock_"  # noqa: S105 (a prefix, not a secret)


class Identity(msgspec.Struct, frozen=True):
    """Who a token speaks for."""

    tenant: str
    scopes: tuple[str, ...]
    token_id: str


def create_tenant(db: Database, tenant: str) -> bool:
    """Register a tenant. Returns whether it is new."""
    return bool(
        db.rows("INSERT INTO tenants (tenant) VALUES (%s) ON CONFLICT DO NOTHING RETURNING 1", (tenant,))
    )


def list_tenants(db: Database) -> list[str]:
    """Names of all tenants, sorted."""
    return [row[0] for row in db.rows("SELECT tenant FROM tenants ORDER BY tenant")]


def known_tenants(db: Database, tenants: Sequence[str]) -> set[str]:
    """Those of these that are registered."""
    rows = db.rows("SELECT tenant FROM tenants WHERE tenant = ANY(%s::text[])", (list(tenants),))
    return {row[0] for row in rows}


def new_token(random_bytes: RandomBytes = os.urandom) -> str:
    """A fresh token's text: prefix and 64 hex digits."""
    return TOKEN_PREFIX + random_bytes(32).hex()


def add_token(db: Database, token: str, *, tenant: str, name: str, scopes: Sequence[str]) -> str:
    """Store a token's hash. Returns the token id; the same text twice is the same token."""
    rows = db.rows(
        "INSERT INTO tokens (token_id, hash, tenant, name, scopes) VALUES (%s::uuid, %s, %s, %s, %s::text[])"
        " ON CONFLICT (hash) DO UPDATE SET name = excluded.name RETURNING token_id::text",
        (new_id(), _hash(token), tenant, name, list(scopes)),
    )
    return str(rows[0][0])


def list_tokens(db: Database, tenant: str | None = None) -> list[dict[str, Any]]:
    """Tokens without their secrets: {token_id, tenant, name, scopes, created_at, expires_at, revoked_at}."""
    rows = db.rows(
        "SELECT json_build_object('token_id', token_id, 'tenant', tenant, 'name', name, 'scopes', scopes,"
        " 'created_at', created_at, 'expires_at', expires_at, 'revoked_at', revoked_at)"
        " FROM tokens WHERE %s::text IS NULL OR tenant = %s ORDER BY created_at, token_id",
        (tenant, tenant),
    )
    return [row[0] for row in rows]


def revoke_token(db: Database, token_id: str) -> bool:
    """Refuse a token from now on. Returns whether it was valid until now."""
    return bool(
        db.rows(
            "UPDATE tokens SET revoked_at = clock_v1() WHERE token_id = %s::uuid AND revoked_at IS NULL"
            " RETURNING 1",
            (token_id,),
        )
    )


def identify(db: Database, token: str) -> Identity | None:
    """Who this token speaks for; None when it is unknown, expired or revoked."""
    rows = db.rows(
        "SELECT tenant, scopes, token_id::text FROM tokens WHERE hash = %s AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > clock_v1())",
        (_hash(token),),
    )
    return Identity(tenant=rows[0][0], scopes=tuple(rows[0][1]), token_id=rows[0][2]) if rows else None


def ensure_local_token(dsn: str, token: str) -> None:
    """Register tenant `default` and the local stack's own token, which may do everything."""
    database = Database(dsn, "penstock-setup")
    try:
        create_tenant(database, "default")
        add_token(database, token, tenant="default", name="local stack", scopes=SCOPES)
    finally:
        database.close()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
