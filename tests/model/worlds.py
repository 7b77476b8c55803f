"""The worlds that are searched: in every test run, in the deep run, and by walks at random."""

from __future__ import annotations

from tests.model.state import PIPELINE, Budget, Shape

from penstock.testing.model.rows import Wish, Work

ONE = (Work(),)
RETRIED = (Work(retry_max=1),)
CHAIN = (Work(), Work((0,)))
FAN_IN = (Work(), Work(), Work((0, 1)))
CLEANUP = (Work(), Work((0,), "failure"))
LOCK, GROUP = Wish("lock", "a", 1), Wish("group", "g", 1)
LOCKED = (Work(holds=(LOCK,)), Work(holds=(LOCK,)))
GROUPED = (Work(holds=(GROUP, LOCK)), Work((0,), holds=(GROUP, LOCK)))
FOUR = (*FAN_IN, Work((0,), "failure"))
LARGE = (
    *(work._replace(holds=(LOCK,)) for work in FOUR),
    Work((2,), "always", holds=(LOCK._replace(most=None),)),
    Work((2, 4), continue_on_error=True, retry_max=1),
)


def _shape(name: str, graph: tuple[Work, ...], faults: str, *, failures: int = 0) -> Shape:
    left = Budget(failures=failures)._replace(**dict.fromkeys(faults.split(), 1))
    targets = (PIPELINE,) if len(graph) == 1 else (PIPELINE, 0)
    return Shape(f"{name}: {faults}" + (" failures" if failures else ""), graph, left, targets)


WORLDS = [
    _shape("one job", ONE, "crashes zombies cancels"),
    _shape("one job", ONE, "crashes zombies losses"),
    _shape("one job", ONE, "crashes cancels losses"),
    _shape("one job", ONE, "zombies cancels losses"),
    _shape("one job", ONE, "zombies overruns"),
    _shape("a job and its retry", RETRIED, "cancels overruns", failures=1),
    _shape("a job and its retry", RETRIED, "losses copies", failures=1),
    _shape("a job and its retry", RETRIED, "crashes", failures=1),
    _shape("a job and its cleanup", CLEANUP, "cancels losses", failures=1),
    _shape("a job and its cleanup", CLEANUP, "crashes", failures=1),
    _shape("fan-in", FAN_IN, "crashes"),
    _shape("fan-in", FAN_IN, "zombies"),
    _shape("fan-in", FAN_IN, "cancels", failures=1),
    _shape("fan-in", FAN_IN, "losses", failures=1),
    _shape("fan-in", FAN_IN, "cancels losses"),
    _shape("four jobs", FOUR, "", failures=1),
    _shape("two jobs and a lock", LOCKED, "crashes"),
    _shape("two jobs and a lock", LOCKED, "zombies"),
    _shape("two jobs and a lock", LOCKED, "cancels losses"),
    _shape("a group with a lock", GROUPED, "zombies cancels"),
]
"""Each small enough for every test run; two or three kinds of faults at once."""

DEEP = [
    _shape("one job", ONE, "crashes zombies cancels losses"),
    _shape("one job", ONE, "zombies cancels losses copies"),
    _shape("a job and its retry", RETRIED, "crashes cancels losses", failures=1),
    _shape("a job and its retry", RETRIED, "crashes overruns", failures=1),
    _shape("a job and its cleanup", CLEANUP, "crashes cancels", failures=1),
    _shape("two jobs", CHAIN, "crashes zombies"),
    _shape("fan-in", FAN_IN, "crashes", failures=1),
    _shape("fan-in", FAN_IN, "zombies cancels"),
    _shape("four jobs", FOUR, "losses", failures=1),
    _shape("four jobs", FOUR, "cancels", failures=1),
    _shape("four jobs", FOUR, "zombies", failures=1),
]

WALKED = Shape(
    "six jobs, three runners",
    LARGE,
    Budget(crashes=3, zombies=3, cancels=1, losses=3, copies=3, failures=3, overruns=2),
    (PIPELINE, 0, 4),
    runners=3,
)
