"""One run: a workload under a nemesis, healed, brought to rest, collected, judged."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import RetryLater, StopProcess
from penstock.kafka.producer import Producer
from penstock.local.ports import HOST
from penstock.runtime.clock import SystemClock
from penstock.store import audit
from penstock.store.jobs import Policy
from penstock.testing.chaos import collect
from penstock.testing.chaos.arena import CLOCKS, SCAN_SECONDS, TTL_SECONDS, Arena
from penstock.testing.chaos.data_faults import REPEATED, again
from penstock.testing.chaos.field import Field
from penstock.testing.chaos.nemesis import Nemesis
from penstock.testing.chaos.workload import Workload
from penstock.testing.history import Folder, NemesisJournal, Verdict, load, verdict
from penstock.testing.history.dumps import difference
from penstock.testing.history.folder import About
from penstock.testing.history.past import Replay, Sample, Terms
from penstock.testing.history.survivors import survivors

REPLICAS: Final = {
    "intake": 2, "advancer": 2, "dispatcher": 2, "reaper": 2, "canceller": 2, "logs": 2, "gateway": 2,
    "runner": 3,
}  # fmt: skip
ENVIRON: Final = {
    "PENSTOCK_KAFKA_PARTITIONS": "4",
    "PENSTOCK_SLOTS": "6",
    "PENSTOCK_LOG_CHUNK_SECONDS": "2",
    "PENSTOCK_LOG_CLOSE_SECONDS": "10",
    "PENSTOCK_LOG_SWEEP_SECONDS": "1",
}
REST_SECONDS: Final = 180.0
"""Whatever takes longer does not come."""
SAMPLE_SECONDS: Final = 1.0
TERMS: Final = Terms(
    ttl_seconds=TTL_SECONDS,
    heartbeat_seconds=float(CLOCKS["PENSTOCK_HEARTBEAT_SECONDS"]),
    scan_seconds=SCAN_SECONDS,
    sweep_seconds=float(CLOCKS["PENSTOCK_SWEEP_SECONDS"]),
    recover_seconds=120.0,
    policy=Policy(retry_base=float(CLOCKS["PENSTOCK_RETRY_BASE_SECONDS"])),
)

Tell = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """How much: at least so many jobs, and these faults in this order."""

    seed: int
    jobs: int
    kinds: Sequence[str]


def run(plan: Plan, path: Path, tell: Tell) -> Verdict:
    """Run the plan; `path` gets the folder of its history.

    Raises:
        StopProcess: the stack did not start, or did not come back.
    """
    clock = SystemClock()
    folder = Folder(path)
    folder.runs.chmod(0o777)
    about = About(seed=plan.seed, terms=TERMS, began_at=clock.now())
    with Arena(REPLICAS, ENVIRON, proxied=True, seed=plan.seed, logs=path / "services") as arena:
        tell(f"arena up after {clock.now() - about.began_at:.1f} s")
        with NemesisJournal(path) as journal, _census(arena, folder):
            _torment(plan, arena, folder, journal, tell)
            about.healed_at = clock.now()
        _come_to_rest(arena, about, tell)
        _collect(arena, folder, tell)
    folder.about(about)
    return verdict(load(path))


def _torment(plan: Plan, arena: Arena, folder: Folder, journal: NemesisJournal, tell: Tell) -> None:
    """Faults while clients ask for pipelines; returns once both have come to their ends and all is healed."""
    with Workload(arena, folder, plan.seed) as workload:
        nemesis = Nemesis(Field(arena, workload, random.Random(plan.seed)), journal, tell)
        nemesis.strike(plan.kinds)
        arena.until(lambda: workload.asked_jobs >= plan.jobs, REST_SECONDS * 10, "all jobs asked for")
        workload.enough()
        arena.until(arena.all_ready, REST_SECONDS, "every component is ready again")
        arena.until(lambda: workload.done, REST_SECONDS, "every client has its answer")
        tell(
            f"{workload.asked_jobs} jobs in {len(workload.accepted)} pipelines; {len(nemesis.struck)} faults"
        )
        if broken := [*workload.broken, *nemesis.broken]:
            raise StopProcess("\n".join(("the harness itself failed:", *broken)))


def _come_to_rest(arena: Arena, about: About, tell: Tell) -> None:
    """Wait until nothing is left to do; what does not end is the verdict's matter."""
    with contextlib.suppress(StopProcess):
        arena.until(lambda: _is_quiet(arena), REST_SECONDS, "rest")
        about.rested_at = SystemClock().now()
        tell(f"at rest {about.rested_at - about.healed_at:.1f} s after the last fault")
        arena.until(lambda: sum(lags(arena).values()) == 0, REST_SECONDS, "all is read")
    about.lag = lags(arena)
    if any(about.lag.values()):
        tell(f"not all is read: {about.lag}")


def _collect(arena: Arena, folder: Folder, tell: Tell) -> None:
    books = audit.books(arena.db)
    # First: a log is stored, or given up on, a while after its attempt has ended, and that changes rows.
    folder.logs(collect.logs(arena.client(), books))
    tell(f"read the logs of {len(books.attempts)} attempts")
    before = audit.dump(arena.db)
    records = _tell_all_again(arena)
    books = audit.books(arena.db)
    after = audit.dump(arena.db)
    folder.replays([Replay("every topic", records, difference(before, after))])
    folder.books(books)
    folder.survivors(survivors([job["id"] for job in books.jobs], SystemClock().now()))
    tell(f"{records} records told once more")
    for name in collect.topic_names():
        folder.topic(name, collect.dump_topic(arena.kafka(), name))
    tell("collected")


def _tell_all_again(arena: Arena) -> int:
    """Every record that services read, once more (I11); returns how many, once all are read."""
    count = 0
    with Producer(arena.kafka(), "chaos-replay") as producer:
        for topic in REPEATED:
            records = collect.dump_topic(arena.kafka(), topic.name)
            producer.send([again(record) for record in records])
            count += len(records)
    with contextlib.suppress(StopProcess):
        arena.until(lambda: sum(lags(arena).values()) == 0 and _is_quiet(arena), REST_SECONDS)
    return count


def _is_quiet(arena: Arena) -> bool:
    try:
        return audit.is_quiet(arena.db)
    except RetryLater:
        return False


def lags(arena: Arena) -> dict[str, int]:
    """Records that a service has not read, as its replicas say; one that does not answer lags by one."""
    found: dict[str, int] = {}
    for one in arena.components():
        if one.name in ("intake", "advancer", "reaper", "canceller", "logs"):
            found[one.name] = found.get(one.name, 0) + _lag(one.port)
    return found


def _lag(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return 1
    return int(sum(map(float, re.findall(r"^penstock_consumer_lag\{[^}]*\} (\S+)$", text, re.MULTILINE))))


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
