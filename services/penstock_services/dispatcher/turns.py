"""What a decision must know of those before it: whose turn it was, and what the claim found closed."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Final

from penstock_services.dispatcher.locks import Name
from penstock_services.dispatcher.policies import ANY

LOOK_SECONDS: Final = 1.0
"""How often jobs that wait for too long are looked for, while there are none."""


def pool_limit(pool: str) -> Name:
    """Under which name the limit of a pool is kept."""
    return "*", "pool", pool


def tenant_limit(tenant: str) -> Name:
    """Under which name the limit of a tenant is kept."""
    return tenant, "tenant", tenant


def quotas_of(tenant: str, pool: str) -> tuple[Name, Name]:
    """Under which names a full quota of a tenant is kept: of the pool, and of all pools."""
    return (tenant, "running", pool), (tenant, "running", ANY)


class Turns:
    """Times are monotonic seconds. All of it may be forgotten: the claim tells it again."""

    def __init__(self) -> None:
        self._since_aged: dict[str, int] = {}
        self._served: dict[tuple[str, str], int] = {}
        self.count = 0
        """Turns for age so far."""
        self._none_aged: dict[str, float] = {}
        self._closed: dict[Name, float] = {}

    def since_aged(self, pool: str) -> int:
        """Grants of the pool since one went to a job for its age."""
        return self._since_aged.get(pool, 0)

    def served(self, pool: str, tenant: str) -> int:
        """When the tenant's last turn for age was: a number that only grows; 0: never."""
        return self._served.get((pool, tenant), 0)

    def may_be_aged(self, pool: str, now: float) -> bool:
        """Whether it is time to look for jobs that wait for too long again."""
        return now - self._none_aged.get(pool, -math.inf) >= LOOK_SECONDS

    def none_aged(self, pools: Iterable[str], now: float) -> None:
        """There were none in these."""
        self._none_aged.update(dict.fromkeys(pools, now))

    def granted(self, grants: Iterable[tuple[str, str, bool]]) -> None:
        """These were granted: pool, tenant, and whether for age."""
        for pool, tenant, aged in grants:
            self._since_aged[pool] = 0 if aged else self._since_aged.get(pool, 0) + 1
            if aged:
                self.count += 1
                self._served[pool, tenant] = self.count

    def close(self, name: Name, opens_at: float = math.inf) -> None:
        """A limit or quota lets nobody through: until then, or until it is opened."""
        self._closed[name] = opens_at

    def open(self, name: Name) -> None:
        """It may let somebody through again."""
        self._closed.pop(name, None)

    def open_limits(self) -> None:
        """Try all limits again: they are told anew."""
        self._closed = {name: opens_at for name, opens_at in self._closed.items() if opens_at == math.inf}

    def keep(self, pools: Collection[str]) -> None:
        """Forget all pools but these."""
        self._since_aged = {pool: count for pool, count in self._since_aged.items() if pool in pools}
        self._none_aged = {pool: at for pool, at in self._none_aged.items() if pool in pools}
        self._served = {key: count for key, count in self._served.items() if key[0] in pools}

    def open_quotas(self) -> None:
        """Try all quotas again: the news that one was freed may be lost."""
        self._closed = {name: opens_at for name, opens_at in self._closed.items() if opens_at != math.inf}

    def all_open(self) -> bool:
        """Whether nothing is known to be closed."""
        return not self._closed

    def opens_at(self, name: Name, now: float) -> float | None:
        """Until when it is closed (inf: nobody knows); None: it is open."""
        opens_at = self._closed.get(name)
        return None if opens_at is None or opens_at <= now else opens_at
