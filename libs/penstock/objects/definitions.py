"""Definitions that travel by reference: stored once under their digest, read by intake."""

from __future__ import annotations

from penstock.objects.keys import DEFINITIONS_TYPE, definition_key, digest
from penstock.objects.ports import ObjectMissing, Objects


class StoredDefinitions:
    """Definitions of all tenants in a bucket, each under its tenant's own prefix."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def definition(self, tenant: str, sha256: str) -> bytes | None:
        """What lies under this digest; None when there is nothing, or something else. Raises RetryLater."""
        try:
            data = self._objects.get(definition_key(tenant, sha256))
        except ObjectMissing:
            return None
        return data if digest(data) == sha256 else None

    def keep(self, tenant: str, data: bytes) -> str:
        """Store a definition; returns its digest in hex. Raises RetryLater."""
        sha256 = digest(data)
        self._objects.put(definition_key(tenant, sha256), data, content_type=DEFINITIONS_TYPE)
        return sha256
