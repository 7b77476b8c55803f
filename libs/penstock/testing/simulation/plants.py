"""Planted faults: each breaks one rule of the protocol on purpose, and the simulation must see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import resources
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from penstock.core.errors import RetryLater
from penstock.kafka.batches import Outcome
from penstock.kafka.loop import _Loop
from penstock.kafka.records import Record
from penstock.store import outbox, setup
from penstock.store.changes import KINDS, Changes
from penstock.store.database import Database
from penstock.testing.simulation import services
from penstock.testing.simulation.world import World
from penstock_services.reaper.duties import Duties, Duty
from penstock_services.reaper.handle import Reaper
from penstock_services.runner.journal import Journal
from penstock_services.runner.session import Seat, Session

_relay: Final = outbox.relay
_all_duties: Final = Duties.all


def _sql(function: str, *changes: tuple[str, str]) -> Callable[[World], AbstractContextManager[None]]:
    """One function of the schema with another text: (what is right, what stands there in its place)."""

    @contextmanager
    def spoiled(world: World) -> Iterator[None]:
        text = (resources.files("penstock.store") / "functions" / f"{function}.sql").read_text("utf-8")
        planted = text
        for right, wrong in changes:
            assert text.count(right) == 1, f"{function} holds {right!r} {text.count(right)} times"
            planted = planted.replace(right, wrong)
        setup.replace_function(world.db, planted)
        try:
            yield
        finally:
            setup.replace_function(world.db, text)

    return spoiled


@contextmanager
def _commits_before_the_step(_world: World) -> Iterator[None]:
    with patch.object(services.Source, "commits_early", new=True):
        yield


@contextmanager
def _relay_deletes_before_it_publishes(_world: World) -> Iterator[None]:
    def relay(db: Database, changes: Changes, *, older_than: float, limit: int) -> None:
        taken = Changes()
        _relay(db, taken, older_than=older_than, limit=limit)
        outbox.acked(db, taken.outbox_ids)
        taken.outbox_ids.clear()
        for kind in (*KINDS, "undecided"):
            getattr(changes, kind).extend(getattr(taken, kind))

    with patch.object(outbox, "relay", relay):
        yield


@contextmanager
def _publishes_and_forgets(_world: World) -> Iterator[None]:
    """What was not acknowledged counts as acknowledged."""

    def send(self: Any, outcome: Outcome) -> None:
        with suppress(RetryLater):
            self._offer(outcome.records)
        if outcome.done is not None:
            outcome.done()

    with patch.object(_Loop, "_send", send):
        yield


@contextmanager
def _without_duties(names: frozenset[str]) -> Iterator[None]:
    def remaining(self: Duties) -> list[Duty]:
        return [duty for duty in _all_duties(self) if duty.name not in names]

    with patch.object(Duties, "all", remaining):
        yield


@contextmanager
def _starts_a_grant_twice(_world: World) -> Iterator[None]:
    accept = Session.accept

    def forgetful(self: Session, *arguments: Any) -> Any:
        self._seen.clear()
        self._seen_before.clear()
        return accept(self, *arguments)

    with patch.object(Session, "accept", forgetful):
        yield


@contextmanager
def _reaper_drops_heartbeats(_world: World) -> Iterator[None]:
    def step(_self: Reaper, _batch: list[Record], _now: float) -> Outcome:
        return Outcome()

    with patch.object(Reaper, "step", step):
        yield


@contextmanager
def _tells_once(_world: World) -> Iterator[None]:
    with patch.object(Journal, "due", lambda *_: []):
        yield


@contextmanager
def _tells_no_guard(_world: World) -> Iterator[None]:
    with patch.object(Seat, "until", None):
        yield


class Planted(NamedTuple):
    """A fault, and the seed from which on it is looked for: the first that was seen to find it."""

    spoil: Callable[[World], AbstractContextManager[None]]
    seed: int = 0


PLANTS: Final[dict[str, Planted]] = {
    "offset committed before the step": Planted(_commits_before_the_step, 17),
    "relay deletes before it publishes": Planted(_relay_deletes_before_it_publishes, 14),
    "acknowledged without an ack": Planted(_publishes_and_forgets, 10),
    "finish ignores the token": Planted(
        _sql("finish_v1", ("AND j.token = r.token OFFSET 0", "AND j.token IS NOT NULL OFFSET 0")), 9
    ),
    "claim does not look at the state": Planted(
        _sql(
            "claim_v1",
            ("AND j.state = 'QUEUED'", "AND j.state IN ('QUEUED', 'CANCELLED')"),
            ("array_agg(r.job_id), array_agg(r.job_id)", "ids, array_agg(r.job_id)"),
        )
    ),
    "an exclusive lease is like any other": Planted(
        _sql("claim_v1", ("CASE WHEN (s.spec ->> 'exclusive')::boolean", "CASE WHEN false")), 70
    ),
    "claim does not look at holds": Planted(
        _sql("claim_v1", ("IF guarded IS NOT NULL THEN", "IF false THEN")), 7
    ),
    "finish frees nothing": Planted(_sql("finish_v1", ("freed := free_v1(holders);", "freed := NULL;")), 7),
    "release frees nothing": Planted(
        _sql("release_v1", ("freed := free_v1(holders);", "freed := NULL;")), 11
    ),
    "groups are never left": Planted(
        _sql(
            "leave_groups_v1", ("g.pipeline_id = ANY (closed)", "false"), ("h.holder = ANY (closed)", "false")
        )
    ),
    "who is behind enters a group": Planted(
        _sql("admit_v1", ("(asked[w]).holder = ANY (behind) THEN true", "false THEN true"))
    ),
    "no guard knows when a lease ends": Planted(_tells_no_guard, 76),
    "release keeps the lease": Planted(
        _sql(
            "release_v1",
            ("FROM leases AS l WHERE l.job_id = ANY", "FROM leases AS l WHERE false AND l.job_id = ANY"),
        )
    ),
    "a cancelled attempt is tried again": Planted(
        _sql("finish_v1", ("CASE WHEN j.state = 'CANCELLING' THEN 'CANCELLED'\n", "CASE\n"))
    ),
    "children are lowered only by success": Planted(
        _sql(
            "settle_v1",
            ("WHERE e.parent_id = p.id AND", "WHERE p.state = 'SUCCESS' AND e.parent_id = p.id AND"),
        )
    ),
    "reaper expires nothing": Planted(lambda _: _without_duties(frozenset(("leases",)))),
    "no sweeps": Planted(lambda _: _without_duties(frozenset(("relay", "lost work", "requests")))),
    "no retry is ever due": Planted(lambda _: _without_duties(frozenset(("retries",)))),
    "heartbeats renew nothing": Planted(_reaper_drops_heartbeats, 10),
    "runner starts a grant twice": Planted(_starts_a_grant_twice, 16),
    "runner tells its reports once": Planted(_tells_once),
}
"""By what is wrong."""
