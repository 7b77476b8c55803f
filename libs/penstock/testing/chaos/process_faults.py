"""Faults of processes: they die, at a point or anywhere, stand still, go slow, come and go."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from penstock.core.errors import PenstockError
from penstock.kafka.consumer import GroupSource
from penstock.store import audit
from penstock.testing.chaos import hooks
from penstock.testing.chaos.arena import EXCLUSIVE_SECONDS, TTL_SECONDS, frozen
from penstock.testing.chaos.field import Drawn, Field

READY_SECONDS: Final = 180.0
"""How long a server may take to come back on a machine that has no time."""
BITE_SECONDS: Final = 12.0
"""How long a point may wait for a process to pass it."""
STUCK: Final = f"sleep:{TTL_SECONDS + 2}"
"""What a service does at a point whose loop is stuck there."""
FEW_FILES: Final = 16
"""Fewer than a runner has open, so that it gets no other; enough for `poll`, which refuses to watch more."""
TOLD_SECONDS: Final = 1.0
"""In this time what a runner tells is in the database, if nothing else is broken."""
ASSIGN_SECONDS: Final = 6.0
"""How long a new member waits for a partition: others give it up first, at a heartbeat each of theirs."""
CONSUMERS: Final = {
    "intake": "penstock.pipelines.requested",
    "advancer": "penstock.jobs.reports",
    "reaper": "penstock.workers.heartbeats",
    "canceller": "penstock.cancel.requested",
}
"""Services that read in a group, and what they read."""


def killed(field: Field) -> Drawn:
    """SIGKILL for any replica of any service."""
    label = field.replica()
    return label, lambda: int(field.arena.kill(label) > 0)


def killed_at(point: str, field: Field) -> Drawn:
    """A replica dies exactly there; what leads to it is brought about."""
    armed = [(label, point) for label in field.arena.labels(hooks.POINTS[point].service)]
    if point.startswith("relay."):  # it finds only what another one could not publish any more
        armed += [(label, "advancer.committed") for label in field.arena.labels("advancer")]

    def act() -> int:
        folder = field.arena.hooks
        before = _bitten(field, point)
        for one in armed:
            hooks.arm(folder, *one)
        try:
            _provoke(field, point)
            field.within(BITE_SECONDS, lambda: _bitten(field, point) > before)
        finally:
            for one in armed:
                hooks.disarm(folder, *one)
        return _bitten(field, point) - before

    return point, act


def _bitten(field: Field, point: str, action: str = "exit") -> int:
    """How often it bit so far like this: other faults have points of their own at the same time."""
    return sum((bite.point, bite.action) == (point, action) for bite in hooks.bites(field.arena.hooks))


def _provoke(field: Field, point: str) -> None:
    """Most points are passed all the time; some only when something else goes wrong first."""
    if point.startswith("canceller."):
        field.workload.cancel_something()
    elif point.startswith("reaper."):
        field.arena.kill(field.arena.labels("runner")[0])


def runner_asleep(field: Field) -> Drawn:
    """A runner stands still for longer than its leases last, and then reports: a zombie."""
    return _frozen(field, field.replica("runner"), field.seconds(TTL_SECONDS + 1, TTL_SECONDS + 3))


def runners_asleep(field: Field) -> Drawn:
    """All runners at once: mass expiry."""
    labels = field.arena.labels("runner")
    seconds = field.seconds(TTL_SECONDS + 1, TTL_SECONDS + 2)

    def act() -> int:
        pids = [field.arena.freeze(label) for label in labels]
        field.wait(seconds)
        for one in pids:
            field.arena.thaw(one)
        return sum(map(bool, pids))

    return "every runner", act


def exclusive_runner_asleep(field: Field) -> Drawn:
    """The runner of an exclusive job stands still until another one has begun it again.

    Its guards do not stand still: they have killed by then what the first attempt left running.
    """

    def act() -> int:
        workload = field.workload
        pipeline_id = workload.ask_exclusive(3 * EXCLUSIVE_SECONDS)
        if not field.within(BITE_SECONDS, lambda: bool(_jobs(field, pipeline_id))):
            return 0
        (job_id,) = _jobs(field, pipeline_id)
        if not field.within(BITE_SECONDS, lambda: workload.has_begun(job_id, 1)):
            return 0
        with frozen(field.arena, _holder(field, job_id)) as pids:
            again = field.within(EXCLUSIVE_SECONDS + BITE_SECONDS, lambda: workload.has_begun(job_id, 2))
        return int(bool(pids) and again)

    return "runner of an exclusive job", act


def _jobs(field: Field, pipeline_id: str) -> list[str]:
    """Ids of the jobs of a pipeline; none while nobody can tell."""
    with contextlib.suppress(PenstockError):
        return [job["job_id"] for job in field.arena.client().jobs(pipeline_id)]
    return []


def _holder(field: Field, job_id: str) -> str:
    """The label of the runner that has this job. Raises RetryLater."""
    books = _books(field)
    session = next(row["session_id"] for row in books.jobs if row["id"] == job_id)
    return next(_label(row) for row in books.sessions if row["session_id"] == session)


def service_asleep(field: Field) -> Drawn:
    """A service stands still in the middle of anything, its partitions go elsewhere, and it goes on."""
    label = field.replica("intake", "advancer", "dispatcher", "reaper", "canceller", "logs", "gateway")
    return _frozen(field, label, field.seconds(1, 8))


def service_slow(field: Field) -> Drawn:
    """A twentieth of a processor for a while."""
    label = field.replica()
    seconds = field.seconds(3, 5)

    def act() -> int:
        turns = 0
        for _ in range(int(seconds / 0.2)):
            with frozen(field.arena, label) as pids:
                field.wait(0.19)
            turns += bool(pids)
            field.wait(0.01)
        return turns

    return label, act


def loop_stuck(field: Field) -> Drawn:
    """A service's own thread is busy with something else for seconds, its clients' threads are not."""
    service, point = field.rng.choice(
        (("advancer", "advancer.polled"), ("dispatcher", "dispatcher.picked"), ("logs", "logs.consumed"))
    )
    label = field.replica(service)

    def act() -> int:
        folder = field.arena.hooks
        before = _bitten(field, point, STUCK)
        hooks.arm(folder, label, point, STUCK)
        bit = field.within(BITE_SECONDS, lambda: _bitten(field, point, STUCK) > before)
        hooks.disarm(folder, label, point)
        return int(bit)

    return f"{label} at {point}", act


def server_killed(name: str, field: Field) -> Drawn:
    """SIGKILL for a server, which is started again at once."""
    return name, lambda: int(field.arena.kill(name) > 0)


def server_asleep(name: str, field: Field) -> Drawn:
    """A server that stands still: connections live, nobody answers."""
    return _frozen(field, name, field.seconds(2, 5))


def server_away(name: str, field: Field) -> Drawn:
    """A server that is down for a while."""
    seconds = field.seconds(4, 8)

    def act() -> int:
        field.arena.hold(name)
        field.wait(seconds)
        field.arena.release(name)
        field.within(READY_SECONDS, lambda: field.arena.is_ready(name))
        return 1

    return name, act


def kafka_wiped(field: Field) -> Drawn:
    """The broker comes back empty, as another cluster, once what only it has was read (protocol §8)."""

    def act() -> int:
        if not field.within(BITE_SECONDS, field.workload.nothing_in_kafka_alone):
            return 0
        field.arena.wipe_kafka()
        field.within(READY_SECONDS, field.arena.all_ready)
        return 1

    return "kafka", act


def backend_killed(field: Field) -> Drawn:
    """SIGKILL for one of Postgres's backends: all of them end, and it recovers."""

    def act() -> int:
        backends = sorted(field.arena.below("postgres"))
        return int(bool(backends) and field.arena.kill_process(field.rng.choice(backends)))

    return "postgres backend", act


def rebalanced(field: Field) -> Drawn:
    """Members that come and go and never commit: partitions move about, records are read again."""
    service = field.rng.choice(sorted(CONSUMERS))

    def act() -> int:
        return sum(_visited(field, service) for _ in range(3))

    return f"group {service}", act


def _visited(field: Field, service: str) -> bool:
    """Whether a member that came got a partition before it left."""
    guest = GroupSource(field.arena.kafka(), [CONSUMERS[service]], f"penstock-{service}")
    try:
        return field.within(ASSIGN_SECONDS, lambda: bool(guest.poll(0.1)) or bool(guest.assignment()))
    finally:
        guest.close()


def runner_without_files(field: Field) -> Drawn:
    """A runner that may open no more files: attempts fail as infrastructure, and run elsewhere."""
    label = field.replica("runner")
    seconds = field.seconds(2, 4)

    def act() -> int:
        before = _starved(field, label)
        pid = field.arena.process(label)
        try:
            # How many it has open is nobody else's business: a runner conceals itself.
            usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (FEW_FILES, usual[1]))
        except ProcessLookupError:  # another fault was faster
            return 0
        field.wait(seconds)
        with contextlib.suppress(ProcessLookupError):  # it gave up, which is its right
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        field.wait(TOLD_SECONDS)
        return _starved(field, label) - before

    return label, act


def _starved(field: Field, label: str) -> int:
    """Attempts of a runner that ended because it had not what they need. Raises RetryLater."""
    books = _books(field)
    its = {row["session_id"] for row in books.sessions if _label(row) == label}
    return sum(row["reason"] == "infra-error" and row["session_id"] in its for row in books.attempts)


def _books(field: Field) -> audit.Books:
    with contextlib.closing(field.arena.database()) as db:
        return audit.books(db)


def _label(session: dict[str, Any]) -> str:
    """Of the runner of this session, whose name begins with its machine's."""
    return str(session["name"].rpartition("/")[2])


def all_away(field: Field) -> Drawn:
    """Everything ends, and comes back at once."""

    def act() -> int:
        labels = [*field.arena.labels(), "kafka", "postgres"]
        for label in labels:
            field.arena.hold(label)
        field.wait(2.0)
        for label in labels:
            field.arena.release(label)
        field.within(READY_SECONDS, field.arena.all_ready)
        return len(labels)

    return "everything", act


def _frozen(field: Field, label: str, seconds: float) -> Drawn:
    def act() -> int:
        with frozen(field.arena, label) as pids:
            field.wait(seconds)
        return len(pids)

    return label, act


FAULTS: Final[dict[str, Callable[[Field], Drawn]]] = {
    "F1 killed": killed,
    **{f"F1 {point}": partial(killed_at, point) for point in hooks.POINTS},
    "F2 runner asleep": runner_asleep,
    "F2 every runner asleep": runners_asleep,
    "F2 exclusive runner asleep": exclusive_runner_asleep,
    "F2 service asleep": service_asleep,
    "F3 kafka killed": partial(server_killed, "kafka"),
    "F3 kafka asleep": partial(server_asleep, "kafka"),
    "F3 kafka away": partial(server_away, "kafka"),
    "F4 kafka wiped": kafka_wiped,
    "F6 rebalanced": rebalanced,
    "F8 postgres killed": partial(server_killed, "postgres"),
    "F8 postgres backend killed": backend_killed,
    "F8 postgres away": partial(server_away, "postgres"),
    "F9 postgres asleep": partial(server_asleep, "postgres"),
    "F12 s3 away": partial(server_away, "s3"),
    "F17 runner without files": runner_without_files,
    "F20 service slow": service_slow,
    "F20 loop stuck": loop_stuck,
    "F22 all away at once": all_away,
}
