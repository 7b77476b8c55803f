"""What operators have said: shares and quotas of tenants, limits, paused pools, runners out of service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

ANY = "*"
"""All pools, or every tenant without a row of its own."""


class Quota(msgspec.Struct, frozen=True):
    """What a tenant may have of a pool (`*`: of all together); a row of tenant `*` is for all others."""

    tenant: str
    pool: str
    weight: float = 1.0
    """Its part of the slot-time, against the weights of the others that wait."""
    minimum: int = 0
    """Slots that it gets before anybody else gets one, while it asks for them."""
    running: int | None = None
    """Most attempts at once."""
    queued: int | None = None
    """Most unfinished jobs; checked where requests are accepted."""


class Limit(msgspec.Struct, frozen=True):
    """How many claims a second there may be; `opens_in` seconds until the next one may be made."""

    tenant: str
    kind: Literal["tenant", "pool", "lock"]
    name: str
    opens_in: float = 0.0


class PausedPool(msgspec.Struct, frozen=True):
    """A pool as its operators left it."""

    pool: str
    paused_at: str | None = None
    paused_by: str | None = None
    overtaking: int = 0
    """How many younger jobs may take a lock before one that waits for another lock as well."""


class Order(msgspec.Struct, frozen=True):
    """A runner that takes no jobs."""

    name: str
    state: Literal["DRAINING", "QUARANTINED"]
    by: str = ""


class Said(msgspec.Struct, frozen=True):
    """All of it, as `policies_v1` tells it."""

    quotas: list[Quota] = []
    limits: list[Limit] = []
    pools: list[PausedPool] = []
    orders: list[Order] = []


class Share(NamedTuple):
    """What holds for one tenant in one pool."""

    weight: float
    minimum: int
    most: int | None


_PLAIN = Share(1.0, 0, None)


class Policies:
    """The same, by what is asked for."""

    def __init__(self, said: Said | None = None) -> None:
        said = said or Said()
        self._quotas: Mapping[tuple[str, str], Quota] = {(one.tenant, one.pool): one for one in said.quotas}
        self.pools = {one.pool: one for one in said.pools}
        self.orders = {one.name: one for one in said.orders}
        self._limited = {(one.tenant, one.kind, one.name) for one in said.limits}
        self.limits = said.limits
        self._shares: dict[tuple[str, str], Share] = {}
        self._with_minimum: dict[str, list[str]] = {}
        for one in said.quotas:
            if one.minimum and one.tenant != ANY:
                self._with_minimum.setdefault(one.pool, []).append(one.tenant)

    def paused(self, pool: str) -> bool:
        """Whether nothing of the pool is granted."""
        known = self.pools.get(pool)
        return known is not None and known.paused_at is not None

    def overtaking(self, pool: str) -> int:
        """See PausedPool."""
        known = self.pools.get(pool)
        return known.overtaking if known else 0

    def share(self, tenant: str, pool: str) -> Share:
        """What the tenant may have of the pool: its own row, or the one for all others."""
        if not self._quotas:
            return _PLAIN
        share = self._shares.get((tenant, pool))
        if share is None:
            row = self._quotas.get((tenant, pool)) or self._quotas.get((ANY, pool))
            overall = self._quotas.get((tenant, ANY)) or self._quotas.get((ANY, ANY))
            weight = row.weight if row else overall.weight if overall else 1.0
            share = Share(max(weight, 1e-6), row.minimum if row else 0, row.running if row else None)
            self._shares[tenant, pool] = share
        return share

    def overall(self, tenant: str) -> int | None:
        """Most attempts of the tenant at once in all pools together."""
        row = self._quotas.get((tenant, ANY)) or self._quotas.get((ANY, ANY))
        return row.running if row else None

    def is_limited(self, tenant: str, pool: str) -> bool:
        """Whether claims of the tenant or of the pool are counted."""
        return bool(self._limited) and (
            (tenant, "tenant", tenant) in self._limited or (ANY, "pool", pool) in self._limited
        )

    def with_minimum(self, pool: str) -> Sequence[str]:
        """Tenants that are guaranteed slots of the pool."""
        return self._with_minimum.get(pool, ())
