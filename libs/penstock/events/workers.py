"""Records between runners and services: heartbeats, offers, grants, control (protocol §3, §4)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from penstock.core.states import Reason
from penstock.events.codec import Codec
from penstock.events.fields import Attempt, Count, Id, Slots
from penstock.events.jobs import Grant

HEARTBEAT_TYPE: Final = "dev.penstock.worker.heartbeat.v1"
OFFER_TYPE: Final = "dev.penstock.worker.offer.v1"
GRANTS_TYPE: Final = "dev.penstock.worker.grants.v1"
CONTROL_TYPE: Final = "dev.penstock.worker.control.v1"

Phase = Literal["granted", "started", "ended"]
WorkerState = Literal["IDLE", "BUSY", "DRAINING", "OFFLINE"]


class Held(msgspec.Struct, frozen=True):
    """An attempt that a session holds, and how far it is."""

    job_id: Id
    attempt: Attempt
    token: Id
    phase: Phase


class Capacity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a runner's machine has: cores, bytes of memory, architecture as `uname -m` says it."""

    cpu: float = 0
    memory: int = 0
    arch: str = ""


class Heartbeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """`penstock.workers.heartbeats`, key = session: the whole truth about one runner, every 5 s.

    `n` counts the session's heartbeats from 1. `ended` are attempts that ended and are not settled yet;
    they are also in `held` with phase `ended`.
    """

    session_id: Id
    n: Count
    name: str
    pool: str
    slots: Slots
    state: WorkerState = "IDLE"
    labels: list[str] = []
    executors: list[str] = []
    capacity: Capacity = Capacity()
    held: list[Held] = []


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that no longer takes a slot: it ended, or was refused (`duration_ms` is -1)."""

    job_id: Id
    attempt: Attempt
    duration_ms: Annotated[int, msgspec.Meta(ge=-1, le=2**53 - 1)]


class Offer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`penstock.workers.offers`, key = pool: what changed since the last offer or heartbeat.

    It repeats what a dispatcher must know of the runner, so that a runner that just started gets its
    first job at once. Lost offers are made good by the next heartbeat.
    """

    session_id: Id
    n: Count
    pool: str
    slots: Slots
    name: str = ""
    state: WorkerState = "IDLE"
    labels: list[str] = []
    executors: list[str] = []
    ended: list[Ended] = []


class Grants(msgspec.Struct, frozen=True):
    """`penstock.workers.grants`, key = session. `n` echoes the newest heartbeat or offer seen of it."""

    session_id: str
    n: int
    grants: list[Grant]


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What became of one attempt that a heartbeat held: renewed, to be cancelled, or no longer its own."""

    job_id: str
    attempt: int
    verdict: Literal["ok", "cancel", "void"]


class Stop(msgspec.Struct, frozen=True, omit_defaults=True):
    """Order to stop an attempt: SIGTERM, `grace` of the job's spec, SIGKILL to whatever is left."""

    job_id: str
    attempt: int
    reason: Reason = "cancelled"


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """A report of `kind` was read and decided; `accepted` false: the attempt was no longer this token's."""

    job_id: str
    attempt: int
    kind: Literal["started", "ended", "released"]
    accepted: bool


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """All log lines of the attempt up to `seq` are stored and indexed: the spool may be freed."""

    job_id: str
    attempt: int
    seq: int


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """`penstock.workers.control`, key = session. `n` is the heartbeat that `renewed` answers."""

    session_id: str
    n: int = 0
    renewed: list[Verdict] = []
    stop: list[Stop] = []
    settled: list[Settled] = []
    stored: list[Stored] = []


heartbeat = Codec(Heartbeat)
offer = Codec(Offer)
grants = Codec(Grants)
control = Codec(Control)
