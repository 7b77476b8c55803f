"""Breadth first over all states of a world, and seeded walks through worlds that are too large for that."""

from __future__ import annotations

import random
import time
from array import array
from typing import Any, NamedTuple

from tests.model.state import Move, State, Violation, told
from tests.model.world import World


class Result(NamedTuple):
    """What a search found; `story` is empty when every invariant holds."""

    states: int
    moves: int
    seconds: float
    story: tuple[str, ...] = ()
    whole: bool = True
    """All states were seen."""

    @property
    def found(self) -> str:
        """The invariant that does not hold."""
        return self.story[-1] if self.story else ""


class _Tree:
    """How each state was reached first: breadth first, so that no way is shorter."""

    def __init__(self, first: State) -> None:
        self.states = [first]
        self.numbers = {first: 0}
        self.parents = array("l", [-1])
        self.labels: list[tuple[Any, ...]] = [("a pipeline is accepted",)]
        self.sources, self.targets = array("l"), array("l")
        self.moves = 0

    def add(self, parent: int, move: Move) -> int:
        self.moves += 1
        number = self.numbers.get(move.state)
        if number is None:
            number = self.numbers[move.state] = len(self.states)
            self.states.append(move.state)
            self.parents.append(parent)
            self.labels.append(move.label)
        if not move.fault and number != parent:
            self.sources.append(parent)
            self.targets.append(number)
        return number

    def story(self, number: int, *more: str) -> tuple[str, ...]:
        steps: list[str] = []
        while number >= 0:
            steps.append(told(self.labels[number]))
            number = self.parents[number]
        return (*reversed(steps), *more)


def search(world: World, most: int = 10_000_000) -> Result:
    """Look at every state, at most so many; stop at the first in which an invariant does not hold."""
    began = time.process_time()
    tree = _Tree(world.first())
    rests: list[int] = []
    at = 0

    def result(story: tuple[str, ...] = ()) -> Result:
        whole = at == len(tree.states)
        return Result(len(tree.states), tree.moves, time.process_time() - began, story, whole)

    while at < len(tree.states) and len(tree.states) < most:
        state = tree.states[at]
        try:
            goes_on = False
            for move in world.moves(state):
                number = tree.add(at, move)
                goes_on = goes_on or (number != at and not move.fault)
        except Violation as found:
            return result(tree.story(at, told(found.label), found.text))
        if not goes_on:
            if wrong := world.wrong_at_rest(state):
                return result(tree.story(at, "nothing more will happen", wrong[0]))
            rests.append(at)
        at += 1
    if at == len(tree.states):
        stuck = _never_at_rest(tree, rests)
        if stuck is not None:
            return result(tree.story(stuck, "things go round for ever", "I8: no end can be reached"))
    return result()


def _never_at_rest(tree: _Tree, rests: list[int]) -> int | None:
    """A state from which no end is reached, were there no more faults."""
    count = len(tree.states)
    before: list[list[int]] = [[] for _ in range(count)]
    for source, target in zip(tree.sources, tree.targets, strict=True):
        before[target].append(source)
    good = bytearray(count)
    todo = list(rests)
    for number in rests:
        good[number] = 1
    while todo:
        for source in before[todo.pop()]:
            if not good[source]:
                good[source] = 1
                todo.append(source)
    return next((number for number in range(count) if not good[number]), None)


def walk(world: World, seed: int, most: int = 5_000) -> Result:
    """One way at random until nothing more happens."""
    began = time.process_time()
    chance = random.Random(seed)
    state = world.first()
    steps = [f"seed {seed}: a pipeline is accepted"]
    for _ in range(most):
        try:
            moves = [move for move in world.moves(state) if move.state != state]
        except Violation as found:
            return _walked(began, steps, told(found.label), found.text)
        if not any(not move.fault for move in moves):
            wrong = world.wrong_at_rest(state)
            return _walked(began, steps, *(["nothing more will happen", wrong[0]] if wrong else []))
        # Faults are rare, so that something goes on between them.
        weights = [0.1 if move.fault else 1.0 for move in moves]
        move = chance.choices(moves, weights)[0]
        steps.append(told(move.label))
        state = move.state
    return _walked(began, steps, "things go round for ever", "I8: no end was reached")


def _walked(began: float, steps: list[str], *wrong: str) -> Result:
    story = (*steps, *wrong) if wrong else ()
    return Result(len(steps), len(steps), time.process_time() - began, story)
