"""Where trials take place: one arena for many of them, put right again after each."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from penstock.core.errors import PenstockError
from penstock.runtime.clock import SystemClock, pause
from penstock.store import audit, setup
from penstock.testing.chaos.arena import EXCLUSIVE_SECONDS, Arena
from penstock.testing.chaos.hooks import MUTANT
from penstock.testing.chaos.mutants.mutant import Mutant
from penstock.testing.chaos.mutants.plays import PLAYS
from penstock.testing.chaos.mutants.trial import Missed, Trial
from penstock.testing.history.verdict import Verdict, verdict

REPLICAS: Final = {"runner": 2}
ENVIRON: Final = {
    "PENSTOCK_EXCLUSIVE_SECONDS": f"{EXCLUSIVE_SECONDS:g}",
    "PENSTOCK_LOG_CHUNK_SECONDS": "1",
    "PENSTOCK_LOG_CLOSE_SECONDS": "15",
    "PENSTOCK_LOG_SWEEP_SECONDS": "1",
}
"""The log of an attempt whose runner died has no end before somebody closes it; who keeps logs and was killed
must be back by then, with its partitions: what waits in Kafka is taken for lost else."""
REST_SECONDS: Final = 60.0
"""How long the rest after a play may be waited for."""
LEAST_REST_SECONDS: Final = 12.0
"""With a mutant it may never come: so long, or three times as long as without it if that is longer."""
CLEAN_SECONDS: Final = 20.0
SETTLE_SECONDS: Final = 0.5
KEPT: Final = ("workers", "past_workers", "kafka_clusters", "reaper_clock")
"""Tables that living processes know of."""


class Trialled(NamedTuple):
    """What a trial came to. `missed`: what did not come, so that the play was broken off."""

    verdict: Verdict
    missed: str
    seconds: float
    rest_seconds: float
    """From the end of the play."""

    @property
    def is_clean(self) -> bool:
        """Whether it came to its end, and nothing is wrong."""
        return self.verdict.held and not self.missed

    @property
    def broken(self) -> list[str]:
        """The invariants that do not hold."""
        return [one.invariant for one in self.verdict.invariants if one.state == "broken"]


class Ground:
    """A running stack for trials; a context manager. Raises StopProcess when it does not start."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._arena = Arena(REPLICAS, ENVIRON)

    def __enter__(self) -> Ground:
        self._arena.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._arena.__exit__()

    def play(self, name: str) -> Trialled:
        """Play it once and judge what came of it."""
        return self._play(name, None, REST_SECONDS)

    def play_with(self, mutant: Mutant, without: Trialled) -> Trialled:
        """The play of a mutant, with it."""
        return self._play(mutant.scenario, mutant, max(LEAST_REST_SECONDS, 3 * without.rest_seconds))

    def _play(self, name: str, mutant: Mutant | None, rest_seconds: float) -> Trialled:
        began = self._clock.monotonic()
        arena = self._arena
        missed = ""
        with tempfile.TemporaryDirectory(prefix="penstock-mutants-") as folder, self._planted(arena, mutant):
            Path(folder).chmod(0o755)
            trial = Trial(arena, Path(folder))
            try:
                try:
                    PLAYS[name](trial)
                except Missed as error:
                    missed = str(error)
                history = trial.history(rest_seconds)
            finally:
                trial.close()
        self._clean(arena)
        rested = (history.rested_at or history.healed_at + rest_seconds) - history.healed_at
        return Trialled(verdict(history), missed, self._clock.monotonic() - began, rested)

    @contextlib.contextmanager
    def _planted(self, arena: Arena, mutant: Mutant | None) -> Iterator[None]:
        if mutant is None:
            yield
            return
        file = arena.hooks / MUTANT
        mutant.plant(arena.db)
        if mutant.services:
            file.write_text(mutant.name)
            self._restart(arena, mutant.services)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            mutant.restore(arena.db)
            if mutant.services:
                self._restart(arena, mutant.services)

    def _restart(self, arena: Arena, services: tuple[str, ...]) -> None:
        """In good order, so that their partitions are given away at once."""
        before = {label: arena.process(label) for label in arena.labels(*services)}
        for pid in before.values():
            os.kill(pid, signal.SIGTERM)
        for label, pid in before.items():
            arena.until(lambda label=label, pid=pid: arena.component(label).pid not in (0, pid))  # type: ignore[misc]
            arena.process(label)

    def _clean(self, arena: Arena) -> None:
        """Nothing of a trial is left for the next one: what is open is cancelled, then all rows go."""
        with contextlib.suppress(PenstockError):
            arena.until(arena.all_ready, CLEAN_SECONDS)
            for row in audit.books(arena.db).open_pipelines:
                with contextlib.suppress(PenstockError):
                    arena.client().cancel_pipeline(row["pipeline_id"])
            arena.until(lambda: not any(audit.books(arena.db).left.values()), CLEAN_SECONDS)
        setup.empty(arena.db, keep=KEPT)
        pause(SETTLE_SECONDS)
        setup.empty(arena.db, keep=KEPT)  # what was written while the first one went on
