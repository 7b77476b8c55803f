"""Where a process may die (fault F1): every place between two effects that a crash can separate."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from penstock.testing.chaos.hooks.placing import Passed, Place, after, before, replace, within


class Point(NamedTuple):
    """A place in a service's code; it is passed only where something is at stake."""

    name: str
    service: str
    doc: str
    place: Place
    """Makes this process pass it."""


def _has_records(outcome: Any, *_: Any) -> bool:
    return bool(outcome.records)


def _told(kind: str) -> Place:
    """Passed when a runner's report of this kind is in the journal and acknowledged by Kafka."""

    def wrap(original: Callable[[Any], Awaitable[None]], passed: Passed) -> Callable[[Any], Awaitable[None]]:
        @functools.wraps(original)
        async def watched(reporter: Any) -> None:
            kinds = {entry.report.kind for entry in reporter._new.values()}  # noqa: SLF001
            await original(reporter)
            if kind in kinds:
                passed()

        return watched

    target = "penstock_services.runner.reporting:Reporter._tell"
    return lambda passed: replace(target, lambda original: wrap(original, passed))


class _Relay:
    """The relay is one duty of a scan: only a scan in which it found something passes its points."""

    def __init__(self) -> None:
        self._found = False

    def read(self, _result: Any, _db: Any, changes: Any, **_: Any) -> bool:
        """Behind its reading."""
        self._found = bool(changes.outbox_ids)
        return self._found

    def sent(self, *_: Any, **__: Any) -> bool:
        """Where the scan's records are sent."""
        return self._found


def _in_a_scan(place: Place) -> Place:
    return within("penstock.kafka.loop:_Loop.tick", place)


_relay: Final = _Relay()
_ALL: Final = (
    Point(
        "gateway.before-commit",
        "gateway",
        "a request was read and checked, its row is not written",
        before("penstock.store.requests:receive"),
    ),
    Point(
        "gateway.committed",
        "gateway",
        "a request's row is committed, neither its record is sent nor the client answered",
        after("penstock.store.requests:receive", lambda kept, *_, **__: kept["outcome"] == "new"),
    ),
    Point(
        "intake.before-commit",
        "intake",
        "requests were read and planned, their pipelines are not written",
        before("penstock.store.requests:accept"),
    ),
    Point(
        "intake.committed",
        "intake",
        "pipelines are committed, nothing of them is published",
        after("penstock_services.intake.handle:Intake.step", _has_records),
    ),
    Point(
        "relay.read",
        "reaper",
        "the relay has read outbox rows, and published none of them",
        after("penstock.store.outbox:relay", _relay.read),
    ),
    Point(
        "relay.produced",
        "reaper",
        "the relay's records are handed to Kafka's client, no acknowledgement has come",
        _in_a_scan(after("penstock.kafka.producer:Producer._hand_over", _relay.sent)),
    ),
    Point(
        "relay.acked",
        "reaper",
        "the relay's records are acknowledged, its outbox rows are still there",
        _in_a_scan(after("penstock.kafka.producer:Producer.send", _relay.sent)),
    ),
    Point(
        "advancer.polled",
        "advancer",
        "reports were read, and nothing was done with them",
        before("penstock_services.advancer.handle:Advancer.step"),
    ),
    Point(
        "advancer.before-commit",
        "advancer",
        "reports are decoded and sorted, the transaction of the ends among them is not begun",
        before("penstock.store.jobs:finish"),
    ),
    Point(
        "advancer.in-transaction",
        "advancer",
        "ends are on their way to Postgres, whose answer nobody will read",
        within("penstock.store.jobs:finish", before("penstock.store.database:generators.execute")),
    ),
    Point(
        "advancer.committed",
        "advancer",
        "what reports changed is committed, nothing of it is published",
        after("penstock_services.advancer.handle:Advancer.step", _has_records),
    ),
    Point(
        "advancer.before-offset",
        "advancer",
        "what reports changed is committed and published, their offset is not committed",
        before("penstock.kafka.later:Later.commit", lambda _later, _source, done: bool(done)),
    ),
    Point(
        "dispatcher.picked",
        "dispatcher",
        "jobs and their runners are chosen, the claim is not written",
        before("penstock_services.dispatcher.claims:Claims.claim"),
    ),
    Point(
        "dispatcher.claimed",
        "dispatcher",
        "claims are committed, their grants are not published",
        before(
            "penstock_services.dispatcher.handle:Dispatcher._publish",
            lambda _dispatcher, changes: bool(changes.grants),
        ),
    ),
    Point(
        "runner.granted",
        "runner",
        "grants are taken, nothing of them is started or in the journal",
        after(
            "penstock_services.runner.session:Session.accept",
            lambda refused, _session, _n, grants, _now: len(refused) < len(grants),
        ),
    ),
    Point(
        "runner.started",
        "runner",
        "attempts run, and their starts are told",
        _told("started"),
    ),
    Point(
        "runner.ended",
        "runner",
        "an attempt ended, and its end is neither in the journal nor told",
        before(
            "penstock_services.runner.attempts:Attempts._end",
            lambda *_, started_here=True, **__: started_here,
        ),
    ),
    Point(
        "runner.reported",
        "runner",
        "ends are in the journal and told, and not settled",
        _told("ended"),
    ),
    Point(
        "reaper.selected",
        "reaper",
        "expired leases are selected, their attempts not taken back",
        after("penstock.store.jobs:expired", lambda found, *_: bool(found)),
    ),
    Point(
        "reaper.committed",
        "reaper",
        "expired attempts are taken back, and nothing of it is published",
        after("penstock.store.jobs:release", lambda taken, *_, **__: bool(taken)),
    ),
    Point(
        "canceller.committed",
        "canceller",
        "a cancel is committed, the order to stop is not published",
        after("penstock_services.canceller.handle:Canceller.step", _has_records),
    ),
    Point(
        "logs.consumed",
        "logs",
        "frames were read, and are in memory alone",
        after("penstock_services.logs.loop:take", lambda step, *_: bool(step.changed)),
    ),
    Point(
        "logs.stored",
        "logs",
        "chunks are in the object storage, the index does not have them",
        after("penstock_services.logs.archive:put_chunks", lambda item, *_: bool(item.chunks)),
    ),
    Point(
        "logs.indexed",
        "logs",
        "chunks are in the index, the offset of their frames is not committed",
        after(
            "penstock_services.logs.archive:index_cuts",
            lambda results, *_: any(getattr(one, "won", False) for one in results),
        ),
    ),
)

POINTS: Final = {point.name: point for point in _ALL}
"""By name; `docs/reliability.md` lists them."""
