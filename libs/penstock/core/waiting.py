"""Why a ready job is not running yet: a closed list of reasons, open to clients."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import msgspec

Waiting = Literal[
    "pool-paused", "no-runners", "no-fit", "quota", "rate-limit", "lock", "group", "max-parallel", "no-room",
    "queue",
]  # fmt: skip
"""In the order in which they are looked for: the first that holds is told.

`queue`: nothing but the jobs before it; `no-room`: as `queue`, and a runner is being emptied for it.
"""

WAITING: Final[tuple[Waiting, ...]] = get_args(Waiting)


NO_MORE: Final = "nothing but the jobs before it"
"""The sentence of `queue`."""


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reason, one sentence for people, and for programs the facts in it."""

    reason: Waiting
    text: str
    detail: dict[str, Any] = {}
