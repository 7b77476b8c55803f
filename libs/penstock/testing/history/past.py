"""Everything that is known of a run when it is over. All times are Unix seconds."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from penstock.store.audit import Books, Census
from penstock.store.jobs import Policy

Outcome = Literal["open", "ok", "fail", "info"]
"""How an operation of a client ended: not yet; done; certainly not done; nobody knows."""
Door = Literal["http", "kafka"]
Expected = Literal["accepted", "rejected", "conflict"]
"""What a right answer to a request is: its jobs exist; it is not valid; its key means another one."""
AttemptKey = tuple[str, int]
"""Job id and attempt."""


class Terms(msgspec.Struct, frozen=True):
    """What the checks must know of the installation that was tormented."""

    ttl_seconds: float = 3.0
    heartbeat_seconds: float = 1.0
    scan_seconds: float = 0.5
    exclusive_seconds: float = 10.0
    """A lease of an exclusive attempt lasts so long, and the job's grace."""
    sweep_seconds: float = 1.0
    recover_seconds: float = 60.0
    """From the last fault's end until every job is terminal, at most."""
    peace_seconds: float = 20.0
    """So long after its end a fault may still cost an attempt its lease."""
    late_seconds: float = 1.0
    """So long after its lease and a scan what a dead runner held may still not be given back."""
    virtual: bool = False
    """Time passes only as the run wants it to: nothing is slow by itself."""
    spared: frozenset[str] = frozenset()
    """Kinds of faults that cost no living attempt its lease."""
    policy: Policy = Policy()


class Ask(msgspec.Struct, kw_only=True):
    """All tries of one request, which are known by its key."""

    key: str
    definition: dict[str, Any]
    """As it was sent: `name`, and `jobs` by name with `needs`, `if`, `continue-on-error`."""
    door: Door = "http"
    tenant: str = "default"
    expect: Expected = "accepted"
    rerun_of: str = ""
    outcome: Outcome = "open"
    pipeline_ids: list[str] = []
    """What the answers named, each once."""
    asked_at: float = 0.0
    answered_at: float | None = None
    tries: int = 1
    note: str = ""
    """What the last answer said."""


class Wish(msgspec.Struct, kw_only=True):
    """A cancel that was asked for; of the whole pipeline without `job_id`."""

    pipeline_id: str
    job_id: str | None = None
    door: Door = "http"
    tenant: str = "default"
    outcome: Outcome = "open"
    asked_at: float = 0.0
    answered_at: float | None = None
    note: str = ""


class Poison(msgspec.Struct, kw_only=True):
    """A record that no service can use; it is known again by its mark, which is a part of its value."""

    topic: str
    mark: str
    outcome: Outcome = "open"
    asked_at: float = 0.0
    answered_at: float | None = None
    note: str = ""


class Run(msgspec.Struct):
    """One start of one attempt, as its own process wrote it down. `ended_at` is None when it wrote no end."""

    job_id: str
    attempt: int
    started_at: float = 0.0
    ended_at: float | None = None
    exit_code: int | None = None
    lines: int | None = None
    """So many lines it printed, as it says itself; None when it does not."""
    overlapped_at: float | None = None
    """When it saw that another run of its job, which is exclusive, was alive."""


class Fault(msgspec.Struct, kw_only=True):
    """Something that was broken on purpose. `off` is None while it lasts."""

    kind: str
    target: str
    on: float
    off: float | None = None
    bit: int = 0
    """How often it had an effect: killed processes, dropped answers, refused connections."""
    note: str = ""

    @property
    def end(self) -> float:
        """When it was over; for ever when it never was."""
        return float("inf") if self.off is None else self.off


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One stored line."""

    seq: int
    stream: str
    text: str


class Log(msgspec.Struct):
    """The log of an attempt as a reader gets it after the end. `missing`: lines that were given up on."""

    job_id: str
    attempt: int
    lines: list[LogLine]
    missing: int = 0
    ended: bool = True
    """Whether its end came in the time that the reader had."""


class Peek(msgspec.Struct):
    """What a poller was shown of a job or pipeline, by the primary."""

    poller: str
    subject: str
    version: int
    state: str
    at: float


class TopicRecord(msgspec.Struct):
    """One record of a topic, decoded as text; what is not UTF-8 is replaced."""

    partition: int
    offset: int
    key: str
    value: str
    headers: dict[str, str] = {}
    at: float = 0.0
    """The broker's time."""


class Sample(msgspec.Struct):
    """The census of the database at some moment of the run."""

    at: float
    census: Census


class Replay(msgspec.Struct):
    """What a second reading of everything that a topic holds changed; `difference` is empty when nothing."""

    topic: str
    records: int
    difference: str = ""


class Survivor(msgspec.Struct):
    """A process of an attempt that was alive when it should have been gone."""

    job_id: str
    attempt: int
    pid: int
    at: float
    command: str = ""


class History(msgspec.Struct, kw_only=True):
    """One run. What is None was not recorded: checks that need it do not apply."""

    books: Books
    seed: int = 0
    commit: str = ""
    began_at: float = 0.0
    healed_at: float = 0.0
    """The last fault was over."""
    rested_at: float | None = None
    """Nothing was left to do; None: it never came to rest."""
    terms: Terms = Terms()
    asks: list[Ask] = []
    wishes: list[Wish] = []
    poison: list[Poison] = []
    topics: dict[str, list[TopicRecord]] | None = None
    runs: dict[AttemptKey, list[Run]] | None = None
    faults: list[Fault] | None = None
    logs: dict[AttemptKey, Log] | None = None
    peeks: list[Peek] | None = None
    samples: list[Sample] | None = None
    replays: list[Replay] | None = None
    survivors: list[Survivor] | None = None
    lag: dict[str, int] | None = None
    """Records that a group had not committed at rest, by group."""
