"""How deep each job lies in its pipeline's graph. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def levels(nodes: Iterable[T], edges: Iterable[tuple[T, T]]) -> dict[T, int]:
    """The number of edges on the longest path to each node; 0 for those that need nothing.

    `edges` are (parent, child) and have no cycle.
    """
    level = dict.fromkeys(nodes, 0)
    children: defaultdict[T, list[T]] = defaultdict(list)
    unmet = dict.fromkeys(level, 0)
    for parent, child in edges:
        children[parent].append(child)
        unmet[child] += 1
    ready = deque(node for node, count in unmet.items() if count == 0)
    while ready:
        parent = ready.popleft()
        for child in children[parent]:
            level[child] = max(level[child], level[parent] + 1)
            unmet[child] -= 1
            if unmet[child] == 0:
                ready.append(child)
    return level
