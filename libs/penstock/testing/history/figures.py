"""What can be measured in a history: how soon things recovered, by the kind of what was broken."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.testing.history.checks.time import given_back
from penstock.testing.history.facts import Facts, seconds
from penstock.testing.history.past import Fault

BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 7.0, 10.0, 20.0, 30.0, 60.0)
"""Upper bounds of a histogram, seconds."""
STALL_SECONDS: Final = 2.0
"""A stall that begins so soon after a fault is its own."""
BEFORE_SECONDS: Final = 0.5
"""The last claim before it was at most so long before it; what stood still before that has another cause."""


class Durations(msgspec.Struct, frozen=True):
    """How long something took, in seconds; `at_most` counts by upper bound, the rest is above all bounds."""

    count: int
    p50: float
    p99: float
    longest: float
    at_most: dict[str, int]

    @classmethod
    def of(cls, times: Sequence[float]) -> Durations:
        """Of these times."""
        ordered = sorted(times)
        if not ordered:
            return cls(0, 0.0, 0.0, 0.0, {})
        counts = {f"{bound:g}": bisect.bisect_right(ordered, bound) for bound in BOUNDS}
        return cls(len(ordered), _quantile(ordered, 0.5), _quantile(ordered, 0.99), ordered[-1], counts)


class Recovery(msgspec.Struct, frozen=True):
    """All faults of one kind. `stalls`: after each, the longest time without a claim while jobs were QUEUED;
    `alone`: of those while which nothing else was broken; `given_back`: from a fault of a runner until what
    it held was taken back.
    """

    faults: int
    bitten: int
    """Of them, those that bit."""
    stalls: Durations
    alone: Durations
    given_back: Durations


class Figures(msgspec.Struct, frozen=True):
    """Of one run. Classes are those of a queue's checker; times are seconds."""

    jobs: int
    jobs_by_state: dict[str, int]
    attempts: int
    requests: dict[str, int]
    """ok, fail, info; recovered: info, and there; lost: ok, and not there; unexpected; duplicated."""
    retaken: int
    """Attempts that were taken back."""
    zombies: int
    """Of these, those whose runner told of them all the same."""
    runs: int
    faults: int
    """Those that bit, and of how many kinds they were."""
    kinds: int
    recovery: dict[str, Recovery]
    stops: Durations
    """From the order to stop to the end of the process."""
    heal_to_last_end: float | None
    heal_to_rest: float | None


def figures(facts: Facts) -> Figures:
    """Measure a history."""
    history = facts.history
    last = max((seconds(row["at"]) for row in facts.books.job_transitions if row["terminal"]), default=None)
    healed = history.healed_at or None
    faults = history.faults or []
    return Figures(
        jobs=len(facts.books.jobs),
        jobs_by_state=dict(sorted(Counter(job["state"] for job in facts.books.jobs).items())),
        attempts=len(facts.books.attempts),
        requests=_requests(facts),
        retaken=sum(not row["reported"] for row in facts.books.attempts),
        zombies=sum(bool(row["late"]) for row in facts.books.attempts),
        runs=sum(len(runs) for runs in (history.runs or {}).values()),
        faults=sum(fault.bit > 0 for fault in faults),
        kinds=len({fault.kind for fault in faults if fault.bit}),
        recovery=_recovery(facts, faults),
        stops=Durations.of(_stops(facts)),
        heal_to_last_end=None if healed is None or last is None else last - healed,
        heal_to_rest=None if healed is None or history.rested_at is None else history.rested_at - healed,
    )


def _requests(facts: Facts) -> dict[str, int]:
    right = [ask for ask in facts.history.asks if ask.expect == "accepted"]
    classes = Counter(ask.outcome for ask in right)
    there = [ask for ask in right if facts.accepted.get((ask.tenant, ask.key))]
    keys = {(ask.tenant, ask.key) for ask in right}
    return {
        "ok": classes["ok"],
        "fail": classes["fail"],
        "info": classes["info"],
        "recovered": sum(ask.outcome == "info" for ask in there),
        "lost": sum(ask.outcome == "ok" for ask in right) - sum(ask.outcome == "ok" for ask in there),
        "unexpected": len(facts.accepted.keys() - keys),
        "duplicated": sum(len(ids) > 1 for ids in facts.accepted.values()),
    }


def _recovery(facts: Facts, faults: Sequence[Fault]) -> dict[str, Recovery]:
    if not faults:
        return {}
    stalls = _stalls(facts)
    after = [(fault, *_stall_of(stalls, fault)) for fault in faults]
    took: defaultdict[str, list[float]] = defaultdict(list)
    alone: defaultdict[str, list[float]] = defaultdict(list)
    for fault, since, end in after:
        took[fault.kind].append(end - since)
        if facts.faults_between(fault.on - BEFORE_SECONDS, end) == [fault]:
            alone[fault.kind].append(end - since)
    back: defaultdict[str, list[float]] = defaultdict(list)
    for fault, row in given_back(facts):
        back[fault.kind].append(seconds(row["at"]) - fault.on)
    of_kind: defaultdict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        of_kind[fault.kind].append(fault)
    return {
        kind: Recovery(
            faults=len(those),
            bitten=sum(fault.bit > 0 for fault in those),
            stalls=Durations.of(took[kind]),
            alone=Durations.of(alone[kind]),
            given_back=Durations.of(back[kind]),
        )
        for kind, those in sorted(of_kind.items())
    }


def _stalls(facts: Facts) -> list[tuple[float, float]]:
    """Times (begin, end) in which jobs were QUEUED and none was claimed."""
    moments: list[tuple[float, int, bool]] = []
    for rows in facts.versions.values():
        for row in rows:
            entered, left = row["state"] == "QUEUED", row["previous"] == "QUEUED"
            if entered != left:
                moments.append((seconds(row["at"]), 1 if entered else -1, row["state"] == "ASSIGNED"))
    stalls: list[tuple[float, float]] = []
    waiting, since = 0, 0.0
    for at, change, claimed in sorted(moments, key=lambda moment: moment[0]):
        if waiting > 0 and (claimed or waiting + change == 0):
            stalls.append((since, at))
            since = at
        if waiting == 0:
            since = at
        waiting += change
    return stalls


def _stall_of(stalls: Sequence[tuple[float, float]], fault: Fault) -> tuple[float, float]:
    """The longest that began with or soon after a fault; of it, what came after the fault's end."""
    over = fault.on if fault.off is None else fault.off
    own = [
        (max(since, over), end)
        for since, end in stalls
        if fault.on - BEFORE_SECONDS <= since <= over + STALL_SECONDS and end > over
    ]
    return max(own, key=lambda stall: stall[1] - stall[0], default=(over, over))


def _stops(facts: Facts) -> list[float]:
    found: list[float] = []
    for job_id, rows in facts.versions.items():
        for row in rows:
            if row["state"] == "CANCELLING":
                begin = seconds(row["at"])
                ends = [
                    run.ended_at for run in facts.runs(job_id, row["attempt"]) if run.ended_at is not None
                ]
                found += [end - begin for end in ends if end > begin]
    return found


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
