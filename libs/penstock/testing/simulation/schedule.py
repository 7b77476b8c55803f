"""One schedule: a seed from its first fault to its verdict."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import msgspec

from penstock.store import audit, setup
from penstock.store.database import Database
from penstock.store.migrate import ensure_partitions
from penstock.store.tenants import create_tenant
from penstock.testing.databases import fresh_database
from penstock.testing.history import verdict
from penstock.testing.history.past import Sample
from penstock.testing.simulation.checks import history
from penstock.testing.simulation.clients import TENANT, Client, draw_asks
from penstock.testing.simulation.fleet import Fleet
from penstock.testing.simulation.runners import RunnerActor
from penstock.testing.simulation.services import services
from penstock.testing.simulation.world import BEGIN, TIMING, World

RUNNERS: Final = 2
HEAL_ROUNDS: Final = 300
"""More than a minute of virtual time after the last fault."""
LOCKED_TIMES: Final = 4
"""So much longer it may take when jobs wait for each other."""
QUIET_ROUNDS: Final = 2

Plant = Callable[[World], AbstractContextManager[None]]
"""Spoils a world on purpose for as long as it lasts."""


class Outcome(msgspec.Struct, frozen=True):
    """What a schedule came to; `problems` is empty when the protocol held."""

    seed: int
    problems: list[str]
    story: list[str]

    @property
    def digest(self) -> str:
        """The same for the same story."""
        return hashlib.sha256("\n".join(self.story).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}:", *(f"  ! {problem}" for problem in self.problems), *self.story]
        return "\n".join(lines)


@contextmanager
def simulated_database(dsn: str) -> Iterator[Database]:
    """A new database on this server in which schedules run one after the other; its clock is virtual."""
    with fresh_database(dsn) as url:
        db = Database(url, "penstock-simulation")
        try:
            setup.make_clock_virtual(db)
            setup.set_clock(db, BEGIN)
            ensure_partitions(db)
            setup.make_repeatable(db)
            create_tenant(db, TENANT)
            db.rows("SET synchronous_commit = off")  # nobody pulls this server's plug
            db.rows("SET plan_cache_mode = force_generic_plan")  # planning was a fifth of the server's time
            yield db
        finally:
            db.close()


def run(db: Database, seed: int, plant: Plant | None = None) -> Outcome:
    """Run the schedule of this seed in a database of `simulated_database`, which is emptied first."""
    setup.empty(db)
    world = World(db, seed)
    fleet = Fleet(world)
    client = Client(world, draw_asks(world))
    folder = Path(tempfile.mkdtemp(prefix="penstock-simulation-"))
    runners = [RunnerActor(world, fleet, f"runner-{number}", folder) for number in range(RUNNERS)]
    world.actors = [*services(world), *runners, client]
    world.tell("", f"{world.rates}")
    try:
        with plant(world) if plant is not None else nullcontext():
            _live(world, client, runners)
    except Exception as error:  # noqa: BLE001 - no process may end by itself: whatever ended it is a finding
        problems = [f"{type(error).__name__}: {error}\n{traceback.format_exc()}"]
    else:
        problems = [*world.broken, *verdict(history(world, client, fleet, audit.books(db))).problems]
    finally:
        for runner in runners:
            runner.die()
        shutil.rmtree(folder)
    return Outcome(seed, problems, world.story)


def _live(world: World, client: Client, runners: list[RunnerActor]) -> None:
    # Long enough for a lease to end while its runner is away.
    longer = world.lease_seconds / TIMING.session_ttl_seconds
    for _ in range(int(world.rng.randint(12, 30) * longer)):
        world.round()
    world.heal()
    world.samples.append(Sample(world.clock.now(), audit.census(world.db)))
    quiet = 0
    for _ in range(HEAL_ROUNDS * (LOCKED_TIMES if world.locked else 1)):
        world.clock.advance(0.1)
        world.round()
        quiet = quiet + 1 if client.done and _is_quiet(world, runners) else 0
        if quiet == QUIET_ROUNDS:
            world.rested_at = world.clock.now()
            return


def _is_quiet(world: World, runners: list[RunnerActor]) -> bool:
    return not any(runner.unsettled() for runner in runners) and audit.is_quiet(world.db)
