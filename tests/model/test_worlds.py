"""Every state of the small worlds keeps the invariants, and walks through a larger one do."""

from __future__ import annotations

import pytest
from tests.model.search import search, walk
from tests.model.state import Shape
from tests.model.world import World
from tests.model.worlds import WALKED, WORLDS

WALKS = 200


@pytest.mark.timeout(600)
@pytest.mark.parametrize("shape", WORLDS, ids=[shape.name for shape in WORLDS])
def test_every_state_keeps_the_invariants(shape: Shape) -> None:
    result = search(World(shape))
    assert not result.story, "\n".join(result.story)
    assert result.whole


def test_walks_at_random_keep_the_invariants() -> None:
    world = World(WALKED)
    for seed in range(WALKS):
        result = walk(world, seed)
        assert not result.story, "\n".join(result.story)


def test_a_walk_can_be_walked_again() -> None:
    assert walk(World(WALKED), 7).moves == walk(World(WALKED), 7).moves
