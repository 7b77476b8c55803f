"""Each planted fault is found, by the invariant that it breaks, and told as a story."""

from __future__ import annotations

import pytest
from tests.model.mutants import MUTANTS
from tests.model.search import search
from tests.model.world import World

SOUND_STATES = 1_000
"""More than any of the faults needs to be found."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_fault_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    result = search(World(mutant.shape(name), mutant.rules))
    assert result.story, f"nobody would notice: {name}"
    assert result.found.startswith("I")


@pytest.mark.parametrize("name", MUTANTS)
def test_without_the_fault_its_world_is_sound(name: str) -> None:
    result = search(World(MUTANTS[name].shape(name)), SOUND_STATES)
    assert not result.story, "\n".join(result.story)


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 12


def test_a_story_says_what_happened_in_words() -> None:
    mutant = MUTANTS["queue never read again"]
    assert search(World(mutant.shape("story"), mutant.rules)).story == (
        "a pipeline is accepted",
        "the record 'ready' of job A is lost",
        "nothing more will happen",
        "I8: job 0 is QUEUED",
    )
