"""Operations as data: what random sequences are made of, and how each is carried out on the twin."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from penstock.testing.model import transitions as twin
from penstock.testing.model.rows import SILENCE, Events, Graph, Outcome, Rows, Session, Wish, Work
from penstock.testing.model.transitions import Claim, Decision, End, Hold, Token

SESSIONS: tuple[Session, ...] = ((0, 0), (1, 0))


TRIES = 4


class Operation(NamedTuple):
    """Of the store, or by hand: `over` and `overrun` (time passes), `forget` (side rows are lost)."""

    name: str
    arguments: tuple[Any, ...] = ()


class Answer(NamedTuple):
    rows: Rows
    events: Events
    said: object
    """Named jobs, verdicts, or facts."""


WISHES = (
    Wish("lock", "a", 1), Wish("lock", "a", None), Wish("lock", "b", 1), Wish("lock", "b", 2),
    Wish("matrix", "m", 2), Wish("matrix", "n", 1),
)  # fmt: skip
GROUP = Wish("group", "g", 1)


def random_graph(chance: random.Random) -> Graph:
    """2 to 5 jobs with every kind of condition; half of the graphs hold something."""
    works = []
    holding = chance.random() < 0.5
    grouped = (GROUP,) if chance.random() < 0.2 else ()
    for number in range(chance.randint(2, 5)):
        needs = tuple(need for need in range(number) if chance.random() < 0.5)
        condition = chance.choice(
            ["", "", "success", "always", "failure"] if needs else ["", "", "", "failure"]
        )
        work = Work(needs, condition, chance.random() < 0.25, chance.choice([0, 0, 1]))
        some = {wish[:2]: wish for wish in chance.sample(WISHES, chance.randint(0, 2))} if holding else {}
        works.append(work._replace(holds=(*grouped, *some.values())))
    return tuple(works)


def random_operation(chance: random.Random, graph: Graph, rows: Rows) -> Operation:
    """Mostly one that does something; of some the token is old."""
    for _ in range(TRIES):
        operation = _any_operation(chance, graph, rows)
        if operation.name == "decide":
            break
        after = on_twin(graph, rows, operation)
        if (
            after.rows != rows
            or operation.name in ("renew", "undecided")
            or _is_refused(graph, rows, operation)
        ):
            break
    return operation


def _is_refused(graph: Graph, rows: Rows, operation: Operation) -> bool:
    """Whether it is a claim of a job that must wait for what others hold."""
    return operation.name == "claim" and any(
        rows.ready[one.job] and rows.jobs[one.job].state == "QUEUED" and graph[one.job].holds
        for one in operation.arguments
    )


def on_twin(graph: Graph, rows: Rows, operation: Operation) -> Answer:
    """Carry it out on the twin."""
    name, arguments = operation
    if name in HANDS:
        return Answer(HANDS[name](rows, arguments), SILENCE, ())
    if name == "renew":
        renewed, verdicts = twin.renew(rows, arguments)
        return Answer(renewed, SILENCE, verdicts)
    if name == "stop_due":
        stopped, stops = twin.stop_due(rows)
        return Answer(stopped, SILENCE, stops)
    if name == "undecided":
        return Answer(rows, SILENCE, twin.undecided(graph, rows, arguments))
    outcome = ACTS[name](graph, rows, arguments)
    said = outcome.named if name in ("claim", "start", "finish", "release", "expire") else ()
    return Answer(outcome.rows._replace(outbox=()), outcome.events, said)


ACTS: dict[str, Callable[[Graph, Rows, Any], Outcome]] = {
    "claim": twin.claim,
    "refuse": twin.refuse,
    "start": twin.start,
    "finish": twin.finish,
    "resolve": twin.resolve,
    "release": lambda graph, rows, items: twin.release(graph, rows, items, expired=False),
    "expire": lambda graph, rows, items: twin.release(graph, rows, items, expired=True),
    "cancel": lambda graph, rows, only: twin.cancel(graph, rows, only[0]),
    "lost": lambda graph, rows, aged: twin.lost(graph, rows, aged=aged[0]),
    "retry_due": lambda graph, rows, _: twin.retry_due(graph, rows),
}


def _over(rows: Rows, numbers: Sequence[int]) -> Rows:
    leases = list(rows.leases)
    for number in numbers:
        lease = leases[number]
        leases[number] = lease and lease._replace(over=True)
    return rows._replace(leases=tuple(leases))


def _forget(rows: Rows, numbers: Sequence[int]) -> Rows:
    ready, timers = list(rows.ready), list(rows.timers)
    for number in numbers:
        ready[number], timers[number] = False, None
    return rows._replace(ready=tuple(ready), timers=tuple(timers))


def _overrun(rows: Rows, numbers: Sequence[int]) -> Rows:
    limits = list(rows.limits)
    for number in numbers:
        limit = limits[number]
        limits[number] = limit and limit._replace(due=True)
    return rows._replace(limits=tuple(limits))


HANDS: dict[str, Callable[[Rows, Any], Rows]] = {"over": _over, "overrun": _overrun, "forget": _forget}


def _any_operation(chance: random.Random, graph: Graph, rows: Rows) -> Operation:
    jobs = range(len(graph))
    waiting = [n for n in jobs if rows.jobs[n].state == "PENDING" and not rows.jobs[n].unmet]
    if waiting and chance.random() < 0.5:
        return Operation("decide", tuple(waiting))
    name = chance.choice(NAMES)
    arguments = MAKERS[name](chance, rows)
    if name == "claim" and any(work.holds for work in graph):
        arguments = arguments[:1]  # who of several comes first, only the queue can tell
    return Operation(name, arguments)


def _some(chance: random.Random, rows: Rows, wanted: list[int]) -> list[int]:
    """A few of the wanted jobs; any job when there is none."""
    wanted = wanted or [chance.randrange(len(rows.jobs))]
    return sorted(chance.sample(wanted, chance.randint(1, len(wanted))))


def _held(chance: random.Random, rows: Rows) -> list[int]:
    return _some(chance, rows, [number for number, job in enumerate(rows.jobs) if job.token])


def _queued(chance: random.Random, rows: Rows) -> list[int]:
    return _some(chance, rows, [number for number, waits in enumerate(rows.ready) if waits])


def _claims(chance: random.Random, rows: Rows) -> tuple[Claim, ...]:
    return tuple(Claim(number, chance.choice(SESSIONS)) for number in _queued(chance, rows))


def _tokens(chance: random.Random, rows: Rows) -> tuple[Token, ...]:
    return tuple(Token(n, _any_token(chance, rows, n)) for n in _held(chance, rows))


def _decision(chance: random.Random, rows: Rows) -> tuple[Decision]:
    """One that production would not make there, perhaps: the row decides."""
    number = chance.randrange(len(rows.jobs))
    if chance.random() < 0.5:
        return (Decision(number, "QUEUED", None),)
    return (Decision(number, "SKIPPED", "condition-false"),)


def _target(chance: random.Random, rows: Rows) -> tuple[int | None]:
    """Rarely the pipeline, or little else would be seen."""
    return (None if chance.random() < 0.15 else chance.randrange(len(rows.jobs)),)


MAKERS: dict[str, Callable[[random.Random, Rows], tuple[Any, ...]]] = {
    "claim": _claims,
    "start": _tokens,
    "finish": lambda chance, rows: tuple(_end(chance, rows, n) for n in _held(chance, rows)),
    "release": _tokens,
    "expire": _tokens,
    "renew": lambda chance, rows: tuple(_hold(chance, rows, n) for n in _held(chance, rows)),
    "over": lambda chance, rows: tuple(_held(chance, rows)),
    "overrun": lambda chance, rows: tuple(_held(chance, rows)),
    "stop_due": lambda _chance, _rows: (),
    "cancel": _target,
    "retry_due": lambda _chance, _rows: (),
    "lost": lambda chance, _rows: (chance.random() < 0.5,),
    "forget": lambda chance, rows: (chance.randrange(len(rows.jobs)),),
    "undecided": lambda _chance, rows: tuple(range(len(rows.jobs))),
    "resolve": _decision,
    "refuse": lambda chance, rows: tuple(_queued(chance, rows)[:1]),
}
OFTEN = {"claim": 4, "finish": 3, "start": 2, "expire": 2, "over": 2, "retry_due": 2, "lost": 2}
NAMES = [name for name in MAKERS for _ in range(OFTEN.get(name, 1))]


def _token(chance: random.Random, rows: Rows, number: int) -> Token:
    return Token(number, _any_token(chance, rows, number))


def _any_token(chance: random.Random, rows: Rows, number: int) -> int:
    """The living one, or one of an attempt before."""
    attempt = rows.jobs[number].attempt
    return attempt if chance.random() < 0.8 else chance.randint(0, attempt)


def _end(chance: random.Random, rows: Rows, number: int) -> End:
    token = _any_token(chance, rows, number)
    if chance.random() < 0.5:
        return End(number, token, ran=chance.random() < 0.9)
    reason = chance.choice(
        ["exit-code", "exit-code", "signal", "run-timeout", "infra-error", "worker-lost", "cancelled"]
    )
    ran = chance.random() < 0.8
    return End(number, token, success=False, ran=ran, reason=reason, due=chance.random() < 0.7)


def _hold(chance: random.Random, rows: Rows, number: int) -> Hold:
    token = _any_token(chance, rows, number)
    return Hold(number, token, token, chance.random() < 0.3)
