"""The database and the sender that a process of the simulation is given: the real ones, with faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, LiteralString, TypeVar

from penstock.core.errors import RetryLater
from penstock.events import topics
from penstock.kafka.memory import MemorySender
from penstock.kafka.records import Outgoing
from penstock.store.database import Argument, Database, Params, Statement
from penstock.testing.simulation.world import Actor, World

HINTS: Final = frozenset(
    topic.name
    for topic in (
        *topics.JOBS_READY.values(),
        topics.JOBS_REPORTS,
        topics.WORKERS_HEARTBEATS,
        topics.WORKERS_OFFERS,
        topics.WORKERS_GRANTS,
        topics.WORKERS_CONTROL,
    )
)
"""What may be lost although it was acknowledged: all of it comes again, or follows from Postgres."""
T = TypeVar("T")


class FaultyDatabase(Database):
    """The world's one connection, as one process sees it: between its calls anything may happen."""

    def __init__(self, world: World, actor: Actor) -> None:
        super().__init__("", actor.name)
        self._world = world
        self._actor = actor

    def call(self, function: LiteralString, *arguments: Argument) -> Any:
        """See `Database.call`."""
        return self._guarded(function, lambda: self._world.db.call(function, *arguments))

    def rows(self, statement: Statement, params: Params = ()) -> list[tuple[Any, ...]]:
        """See `Database.rows`."""
        return self._guarded("a statement", lambda: self._world.db.rows(statement, params))

    def _guarded(self, what: str, act: Callable[[], T]) -> T:
        world, name = self._world, self._actor.name
        world.pause(self._actor, f"before {what}")
        if world.chance(world.rates.fail_before):
            world.tell(name, f"cannot reach postgres for {what}")
            raise RetryLater("simulated", component="postgres")
        world.show_time()
        answer = act()
        if world.chance(world.rates.fail_after):
            world.tell(name, f"loses the answer to {what}")
            raise RetryLater("simulated, and done all the same", component="postgres")
        world.pause(self._actor, f"after {what}")
        return answer


class FaultySender(MemorySender):
    """The bus's own sender, with faults. A runner's is not a boundary: it dies in other ways."""

    def __init__(self, world: World, actor: Actor, *, boundary: bool = True) -> None:
        super().__init__(world.bus)
        self._world = world
        self._actor = actor
        self._boundary = boundary

    def send(self, records: Sequence[Outgoing]) -> None:
        """See `Sender.send`."""
        world, name = self._world, self._actor.name
        if not records:
            return
        if self._boundary:
            world.pause(self._actor, "before publishing")
        if world.chance(world.rates.fail_before):
            world.tell(name, f"cannot publish {len(records)} records")
            raise RetryLater("simulated", component="kafka")
        failed = world.chance(world.rates.fail_after)
        if failed:
            records = records[: world.rng.randint(0, len(records))]
        super().send([copy for record in records for copy in self._copies(record)])
        if failed:
            world.tell(name, f"is not told that {len(records)} records were published")
            raise RetryLater("simulated, and written in part", component="kafka")
        if self._boundary:
            world.pause(self._actor, "after publishing")

    def _copies(self, record: Outgoing) -> list[Outgoing]:
        world = self._world
        if record.topic == topics.WARMUP.name or (record.topic in HINTS and world.chance(world.rates.lose)):
            return []
        return [record, record] if world.chance(world.rates.repeat) else [record]
