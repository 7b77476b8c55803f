"""The world of one schedule: time, chance, the bus, who acts in it, and the story of what happened."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from penstock.kafka.memory import MemoryBus
from penstock.runtime.metrics import Metrics
from penstock.runtime.settings import TimingSettings
from penstock.store import audit, setup
from penstock.store.database import Database
from penstock.testing.clock import ManualClock
from penstock.testing.history.past import Sample

PARTITIONS: Final = 4
BEGIN: Final = 1_767_787_200.0
"""Virtual time at which every schedule begins, Unix seconds."""
TIMING: Final = TimingSettings(
    heartbeat_seconds=2, session_ttl_seconds=6, exclusive_seconds=13, scan_seconds=1, sweep_seconds=4
)
ACTION_SECONDS: Final = 0.06
"""The mean time between two actions while there are faults: a dozen actors act about once a second."""
PEACEFUL_SECONDS: Final = 0.03
"""The same once the world heals: no pause is then so long that a reaper takes it for a gap."""
EXCLUSIVE_SCHEDULES: Final = 0.2
"""In so many schedules some jobs are exclusive: they take longer, as all that has to do with leases does."""
EXCLUSIVE_GRACE_SECONDS: Final = 1.0
"""Of such a job, and of one with locks; its leases last so much longer."""
LOCKED_SCHEDULES: Final = 0.2
"""In so many schedules some jobs have locks, and some pipelines a group: one waits for the other."""
FREEZE_ROUNDS: Final = 16
"""A process that is frozen in the middle of a step misses at most so many rounds."""

PEACE_SECONDS: Final = 3 * TIMING.session_ttl_seconds
"""The leases of what died before the world healed are over, and so are those that a late claim gave it."""

METRICS: Final = Metrics()


class Crashed(BaseException):
    """The process died here. Not an `Exception`: no handler of a service may survive it."""


class Rates(msgspec.Struct, frozen=True):
    """How likely each fault is at each opportunity."""

    crash: float = 0.0
    freeze: float = 0.0
    """Stopped in the middle of a step while its group gives its partitions away."""
    interleave: float = 0.0
    """Others act between two calls of a step."""
    fail_before: float = 0.0
    """A call to the database or the bus fails, and nothing was done."""
    fail_after: float = 0.0
    """It fails although it was done: nobody knows."""
    lose: float = 0.0
    """A record that may be lost is."""
    repeat: float = 0.0
    stall: float = 0.0
    """An actor does nothing for a while, a runner for longer than its leases."""

    @classmethod
    def draw(cls, rng: random.Random) -> Rates:
        """Of each schedule some faults are frequent, some rare, and some absent."""
        return cls(
            crash=rng.choice((0.0, 0.003, 0.015)),
            freeze=rng.choice((0.0, 0.0, 0.003)),
            interleave=rng.choice((0.0, 0.03, 0.1)),
            fail_before=rng.choice((0.0, 0.01, 0.05)),
            fail_after=rng.choice((0.0, 0.01, 0.05)),
            lose=rng.choice((0.0, 0.1, 0.5)),
            repeat=rng.choice((0.0, 0.1, 0.4)),
            stall=rng.choice((0.0, 0.005, 0.02)),
        )


class Actor(Protocol):
    """A process, or a client: acts a little whenever it is its turn."""

    name: str
    away_until: float
    """Monotonic time before which it does nothing."""

    def act(self) -> None:
        """Do what is to be done now, at most one batch of it. May raise `Crashed`."""
        ...

    def die(self) -> None:
        """Lose all memory; the next `act` begins with a fresh process."""
        ...

    def freeze(self) -> None:
        """It is silent for so long that its group gives its partitions to others."""
        ...

    def stall_seconds(self, rng: random.Random) -> float:
        """For how long it is away when it stalls."""
        ...


class World:
    """Everything that the actors of one schedule share."""

    def __init__(self, db: Database, seed: int, rates: Rates | None = None) -> None:
        """`db` is an emptied database whose clock is virtual."""
        random.seed(seed)  # what production draws by itself, e.g. the pauses between its tries
        self.seed = seed
        self.rng = random.Random(seed)
        self.rates = rates or Rates.draw(self.rng)
        # A chance of its own, so that schedules without exclusive jobs stay what they were.
        self.exclusive = random.Random(f"{seed}/exclusive").random() < EXCLUSIVE_SCHEDULES
        """Some of its jobs are."""
        self.locked = random.Random(f"{seed}/locked").random() < LOCKED_SCHEDULES
        """Some of its jobs hold something."""
        self.db = db
        self.clock: ManualClock = _Clock(self)
        self.bus = MemoryBus(PARTITIONS, self.clock, seed)
        self.bus.order = self.rng
        self.actors: list[Actor] = []
        self.healing = False
        self.healed_at = 0.0
        """Unix seconds after which nothing fails any more, once the world heals."""
        self.rested_at: float | None = None
        self.samples: list[Sample] = []
        self.story: list[str] = []
        self.broken: list[str] = []
        """What can be told to be wrong as soon as it happens."""
        self.stack: list[Actor] = []
        """Who is in the middle of an action, the innermost last."""
        self._shown = 0.0

    @property
    def lease_seconds(self) -> float:
        """So long the longest leases last."""
        if self.exclusive or self.locked:
            return TIMING.exclusive_seconds + EXCLUSIVE_GRACE_SECONDS
        return TIMING.session_ttl_seconds

    def tell(self, who: str, what: str) -> None:
        """One line of the story."""
        self.story.append(f"{self.clock.monotonic():7.2f}  {who:<13}{what}")

    def chance(self, rate: float) -> bool:
        """Whether a fault of this rate happens now; none does while the world heals."""
        return not self.healing and rate > 0 and self.rng.random() < rate

    def show_time(self) -> None:
        """Let the database know what time it is."""
        now = self.clock.now()
        if now != self._shown:
            setup.set_clock(self.db, now)
            self._shown = now

    def turn(self, actor: Actor) -> None:
        """One action of an actor, unless it is away."""
        if self.clock.monotonic() < actor.away_until:
            return
        if self.chance(self.rates.stall):
            self.stall(actor)
            return
        self.stack.append(actor)
        try:
            actor.act()
        except Crashed as crash:
            self.tell(actor.name, f"dies {crash}")
            actor.die()
            actor.away_until = self.clock.monotonic() + self.rng.choice((0.0, 0.5, 4.0))
        finally:
            self.stack.pop()

    def stall(self, actor: Actor) -> None:
        """From now on it does nothing for a while."""
        seconds = actor.stall_seconds(self.rng)
        actor.away_until = self.clock.monotonic() + seconds
        self.tell(actor.name, f"stalls for {seconds:.1f} s")

    def round(self) -> None:
        """Every actor that is not in the middle of something acts, in any order; some are left out."""
        free = [actor for actor in self.actors if actor not in self.stack]
        for actor in self.rng.sample(free, len(free)):
            if self.healing or self.rng.random() < 0.85:
                mean = PEACEFUL_SECONDS if self.healing else ACTION_SECONDS
                self.clock.advance(self.rng.random() * 2 * mean)
                self.turn(actor)
        if self.locked:
            self.broken += [wrong for wrong in audit.wrong_holds(self.db) if wrong not in self.broken]

    def pause(self, actor: Actor, where: str) -> None:
        """A boundary within an action of this actor: it may die here, be frozen, or others act meanwhile."""
        if self.healing:
            return
        if self.chance(self.rates.crash):
            raise Crashed(where)
        if len(self.stack) != 1:
            return
        if self.chance(self.rates.freeze):
            rounds = self.rng.randint(1, FREEZE_ROUNDS)
            self.tell(actor.name, f"is frozen {where} for {rounds} rounds")
            actor.freeze()
            for _ in range(rounds):
                self.round()
            self.tell(actor.name, "goes on")
        elif self.chance(self.rates.interleave):
            free = [other for other in self.actors if other is not actor]
            for other in self.rng.sample(free, self.rng.randint(1, 3)):
                self.turn(other)

    def heal(self) -> None:
        """From now on nothing fails any more, and whoever is away comes back."""
        self.healing = True
        self.healed_at = self.clock.now()
        self.tell("", "-- no more faults --")
        for actor in self.actors:
            actor.away_until = 0.0


class _Clock(ManualClock):
    """Whoever sleeps lets the others act."""

    def __init__(self, world: World) -> None:
        super().__init__(BEGIN)
        self._world = world

    def sleep(self, seconds: float, wake: threading.Event) -> bool:
        if not self._world.healing and self._world.stack:
            self._world.pause(self._world.stack[-1], "while it waits")
        return super().sleep(seconds, wake)


def told(story: Sequence[str], words: Sequence[str] = ()) -> list[str]:
    """The lines of a story that hold any of these words; all of them without words."""
    return [line for line in story if not words or any(word in line for word in words)]
