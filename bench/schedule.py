"""The best that a queue could do with a draw of P1: scheduling by itself, which costs nothing."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from bench.draws import Task


def ideal_seconds(tasks: Sequence[Task], workers: int, seconds: float, *, in_turn: bool = False) -> float:
    """When the last of these tasks ends, all of them there at 0, each taking as long.

    List scheduling: whenever a worker is free it gets the oldest task whose locks are all free. `in_turn`: a
    younger one never takes a lock that an older one waits for, so that nobody is overtaken at a lock.
    """
    waiting = list(range(len(tasks)))
    busy: list[tuple[float, int]] = []
    held: set[str] = set()
    now = 0.0
    while waiting:
        for number in _startable(tasks, waiting, held, workers - len(busy), in_turn=in_turn):
            waiting.remove(number)
            held.update(tasks[number].locks)
            heapq.heappush(busy, (now + seconds, number))
        now = busy[0][0]
        while busy and busy[0][0] <= now:
            held.difference_update(tasks[heapq.heappop(busy)[1]].locks)
    return max((end for end, _ in busy), default=now)


def _startable(
    tasks: Sequence[Task], waiting: Sequence[int], held: set[str], free: int, *, in_turn: bool
) -> list[int]:
    """Those that start now, the oldest first."""
    taken = set(held)
    chosen: list[int] = []
    for number in waiting:
        if len(chosen) == free:
            break
        locks = tasks[number].locks
        if taken.isdisjoint(locks):
            chosen.append(number)
            taken.update(locks)
        elif in_turn:
            taken.update(locks)  # its turn at them comes first
    return chosen
