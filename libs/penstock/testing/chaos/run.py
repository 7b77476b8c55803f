"""One run: a workload under a nemesis, healed, brought to rest, collected, judged."""

from __future__ import annotations

import contextlib
import math
import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import PenstockError, RetryLater, StopProcess
from penstock.runtime.clock import SystemClock
from penstock.store import audit
from penstock.store.jobs import Policy
from penstock.testing.chaos.arena import CLOCKS, EXCLUSIVE_SECONDS, SCAN_SECONDS, TTL_SECONDS, Arena
from penstock.testing.chaos.bars import Bars, Measure
from penstock.testing.chaos.ending import END_SECONDS, come_to_rest, everything, remains
from penstock.testing.chaos.field import Field
from penstock.testing.chaos.nemesis import Nemesis
from penstock.testing.chaos.timetable import Timetable
from penstock.testing.chaos.workload import Workload
from penstock.testing.history import Folder, NemesisJournal, Verdict, load, verdict
from penstock.testing.history.folder import About
from penstock.testing.history.past import Sample, Terms

REPLICAS: Final = {
    "intake": 2, "advancer": 2, "dispatcher": 2, "reaper": 2, "canceller": 2, "logs": 2, "gateway": 2,
    "runner": 3,
}  # fmt: skip
ENVIRON: Final = {
    "PENSTOCK_KAFKA_PARTITIONS": "4",
    "PENSTOCK_SLOTS": "6",
    "PENSTOCK_EXCLUSIVE_SECONDS": f"{EXCLUSIVE_SECONDS:g}",
    "PENSTOCK_LOG_CHUNK_SECONDS": "2",
    "PENSTOCK_LOG_CLOSE_SECONDS": "10",
    "PENSTOCK_LOG_SWEEP_SECONDS": "1",
}
ROUNDS: Final = 3
"""Faults that did not bite strike again until the bars are reached, but not for ever."""
SETTLE_SECONDS: Final = 180.0
"""Behind the last fault, until every component is ready and every client has its answer."""
SAMPLE_SECONDS: Final = 1.0
FAILED: Final = "failed.txt"
"""In the folder of a run that has no verdict, in the place of `run.json`: why."""
TERMS: Final = Terms(
    ttl_seconds=TTL_SECONDS,
    heartbeat_seconds=float(CLOCKS["PENSTOCK_HEARTBEAT_SECONDS"]),
    exclusive_seconds=EXCLUSIVE_SECONDS,
    scan_seconds=SCAN_SECONDS,
    sweep_seconds=float(CLOCKS["PENSTOCK_SWEEP_SECONDS"]),
    recover_seconds=120.0,
    policy=Policy(retry_base=float(CLOCKS["PENSTOCK_RETRY_BASE_SECONDS"])),
)

Tell = Callable[[str], None]


class NoVerdict(StopProcess):
    """The harness itself failed: nothing is said of what it tormented. What could be collected is kept."""


class Plan(msgspec.Struct, frozen=True):
    """How much: at least so many jobs, and these faults in this order, of which so many must bite."""

    seed: int
    jobs: int
    kinds: Sequence[str]
    bars: Bars = Bars()
    seconds: float = 3000.0
    """By then, from the moment that the stack is up, all is collected."""


class Ran(msgspec.Struct, frozen=True):
    """What a run came to."""

    verdict: Verdict
    measures: list[Measure]
    short: list[str]
    """What was not reached or did not come in time: the verdict is of less than was planned."""

    @property
    def held(self) -> bool:
        """Every invariant held, in a run that is worth it."""
        return self.verdict.held and not self.short


def run(plan: Plan, path: Path, tell: Tell) -> Ran:
    """Run the plan; `path` gets the folder of its history.

    Raises:
        StopProcess: the stack did not start.
        NoVerdict: the harness itself failed.
    """
    clock = SystemClock()
    folder = Folder(path)
    folder.runs.chmod(0o777)
    about = About(seed=plan.seed, terms=TERMS, began_at=clock.now())
    failed: list[str] = []
    late: list[str] = []
    bitten: Counter[str] = Counter()
    with (
        _noted(failed, ExceptionGroup),  # the proxies say at their end what went wrong in them
        Arena(REPLICAS, ENVIRON, proxied=True, seed=plan.seed, logs=path / "services") as arena,
    ):
        tell(f"arena up after {clock.now() - about.began_at:.1f} s")
        time = Timetable(arena, plan.seconds, tell)
        with _noted(failed, Exception):
            bitten = _torment(plan, arena, folder, time, tell)
            about.healed_at = clock.now()
            come_to_rest(arena, about, time, tell)
            everything(arena, folder, time, tell)
        if failed:
            remains(arena, folder, tell)
        late += time.late
    if failed:
        (path / FAILED).write_text("\n".join(failed))
        raise NoVerdict("\n".join(failed))
    folder.about(about)
    found = verdict(load(path))
    measures = [Measure("jobs", plan.jobs, found.figures.jobs), *plan.bars.measures(bitten)]
    return Ran(found, measures, [*late, *(str(one) for one in measures if one.is_short)])


def _torment(plan: Plan, arena: Arena, folder: Folder, time: Timetable, tell: Tell) -> Counter[str]:
    """Faults while clients ask for pipelines; returns how many of each bit, once all is healed."""
    ends = SETTLE_SECONDS + END_SECONDS
    with (
        _threads_watched(),
        NemesisJournal(folder.path) as journal,
        _census(arena, folder),
        Workload(arena, folder, plan.seed) as workload,
    ):
        nemesis = Nemesis(Field(arena, workload, random.Random(plan.seed)), journal, tell)
        _strike(plan, nemesis, time, keep=ends)
        time.wait("all jobs asked for", lambda: workload.asked_jobs >= plan.jobs, math.inf, keep=ends)
        workload.enough()
        time.wait("every component is ready again", arena.all_ready, SETTLE_SECONDS, keep=END_SECONDS)
        time.wait("every client has its answer", lambda: workload.done, SETTLE_SECONDS, keep=END_SECONDS)
        count = len(nemesis.struck)
        tell(f"{workload.asked_jobs} jobs in {len(workload.accepted)} pipelines; {count} faults")
        if broken := [*workload.broken, *nemesis.broken]:
            raise StopProcess("\n".join(broken))
        return nemesis.bitten


def _strike(plan: Plan, nemesis: Nemesis, time: Timetable, *, keep: float) -> None:
    kinds = plan.kinds
    for _ in range(ROUNDS):
        struck = nemesis.strike(kinds, lambda: time.left(math.inf, keep=keep) > 0)
        if len(struck) < len(kinds):
            time.late.append(f"there was no time for {len(kinds) - len(struck)} faults")
        if not plan.bars.short(nemesis.bitten):
            return
        kinds = [one.kind for one in struck if not one.bit]


@contextlib.contextmanager
def _noted(failed: list[str], kind: type[Exception]) -> Iterator[None]:
    """What goes wrong is written down, in place of being raised."""
    try:
        yield
    except kind as error:
        told = isinstance(error, PenstockError)
        failed.append(str(error) if told else "".join(traceback.format_exception(error)))


@contextlib.contextmanager
def _threads_watched() -> Iterator[None]:
    """A thread of the harness that ends by an error would make the run look well. Raises StopProcess."""
    ended: list[str] = []
    before = threading.excepthook

    def note(what: threading.ExceptHookArgs) -> None:
        error = what.exc_value or what.exc_type()
        ended.extend(traceback.format_exception(error))

    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before
    if ended:
        raise StopProcess("".join(ended))


@contextlib.contextmanager
def _census(arena: Arena, folder: Folder) -> Iterator[None]:
    """Counts of the database, every second while the context lasts."""
    clock, over = SystemClock(), threading.Event()
    samples: list[Sample] = []

    def count() -> None:
        with contextlib.closing(arena.database()) as db:
            while not clock.sleep(SAMPLE_SECONDS, over):
                with contextlib.suppress(RetryLater):
                    samples.append(Sample(clock.now(), audit.census(db)))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        folder.samples(samples)
