"""What a schedule came to, as the history that the verdict of any run is made on."""

from __future__ import annotations

import math

from penstock.events import topics
from penstock.store.audit import Books
from penstock.testing.history import past
from penstock.testing.history.folder import topic_record
from penstock.testing.simulation.clients import Ask, Client
from penstock.testing.simulation.fleet import Fleet, Run
from penstock.testing.simulation.services import POLICY
from penstock.testing.simulation.world import PEACE_SECONDS, TIMING, World

STOPPED: int = 143
"""The exit code of a process that was told to stop."""


def history(world: World, client: Client, fleet: Fleet, books: Books) -> past.History:
    """Everything that happened, once the world has healed. Rounds limit how long that takes, not time."""
    names = [topic.name for topic in topics.TOPICS]
    names += [topics.dlq_of(name) for name in names]
    return past.History(
        books=books,
        seed=world.seed,
        healed_at=world.healed_at,
        rested_at=world.rested_at,
        terms=past.Terms(
            ttl_seconds=TIMING.session_ttl_seconds,
            heartbeat_seconds=TIMING.heartbeat_seconds,
            exclusive_seconds=TIMING.exclusive_seconds,
            scan_seconds=TIMING.scan_seconds,
            recover_seconds=math.inf,
            peace_seconds=PEACE_SECONDS,
            virtual=True,
            policy=POLICY,
        ),
        asks=[*(_ask(ask) for ask in client.asks), *client.conflicts],
        wishes=client.wishes,
        topics={name: [topic_record(record) for record in world.bus.records(name)] for name in names},
        runs={key: [_run(run) for run in runs] for key, runs in fleet.runs.items()},
        samples=world.samples,
    )


def _ask(ask: Ask) -> past.Ask:
    return past.Ask(
        key=ask.key,
        definition=ask.definition,
        door=ask.door,
        outcome="ok" if ask.accepted else "info",
        pipeline_ids=[ask.pipeline_id] if ask.accepted and ask.pipeline_id else [],
    )


def _run(run: Run) -> past.Run:
    code = None if run.success is None else STOPPED if run.stopped else 0 if run.success else 1
    return past.Run(run.job_id, run.attempt, run.started_at, run.ended_at, code)
