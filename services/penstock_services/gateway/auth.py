"""Who calls: a bearer token's tenant and scopes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from aiohttp import web

from penstock.core.errors import RetryLater
from penstock.runtime.clock import Clock
from penstock.store import tenants
from penstock.store.pool import Pool
from penstock.store.tenants import Identity
from penstock_services.gateway.problems import HttpProblem

REMEMBERED: Final = 10_000
"""Tokens that are remembered for the time that Postgres is away."""
MAX_TOKEN_CHARACTERS: Final = 512
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="penstock"'}


class Gate:
    """Asks Postgres at every call, so that a revoked token is refused at once."""

    def __init__(self, pool: Pool, clock: Clock, grace_seconds: float) -> None:
        self._pool = pool
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._good: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    async def admit(self, request: web.Request, scope: str) -> Identity:
        """Who this is.

        Raises:
            HttpProblem: 401 without a token that is good, 403 when it lacks the scope.
            RetryLater: Postgres is away and did not say lately that this token is good.
        """
        identity = await self._identify(_token(request))
        if scope not in identity.scopes and "admin" not in identity.scopes:
            detail = (
                f"this call needs the scope {scope}; the token has {', '.join(identity.scopes) or 'none'}"
            )
            raise HttpProblem(403, "forbidden", detail)
        return identity

    async def _identify(self, token: str) -> Identity:
        key = hashlib.sha256(token.encode()).digest()
        try:
            identity = await self._pool.run(tenants.identify, token)
        except RetryLater:
            remembered = self._good.get(key)
            if remembered is None or self._clock.monotonic() - remembered[1] > self._grace_seconds:
                raise
            return remembered[0]
        if identity is None:
            self._good.pop(key, None)
            raise _refused("the token is unknown, expired or revoked")
        self._good[key] = (identity, self._clock.monotonic())
        self._good.move_to_end(key)
        if len(self._good) > REMEMBERED:
            self._good.popitem(last=False)
        return identity


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _refused("give a token: the header Authorization: Bearer TOKEN")
    if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        raise _refused("this is not a token")
    return token


def _refused(detail: str) -> HttpProblem:
    return HttpProblem(401, "unauthorized", detail, headers=CHALLENGE)
