"""Faults between processes, by the proxies: cuts, delays, errors, lost answers (F9, F10, F12, F18)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from penstock.testing.chaos.field import Drawn, Field
from penstock.testing.chaos.proxy import DOWN, UP

SQLSTATES: Final = ("40001", "40P01", "57P01", "53300", "53100")
"""Serialization failure, deadlock, shutdown by an administrator, too many connections, disk full."""


def by_rule(server: str, rule: str, draw: Callable[[Field], tuple[Any, ...]], field: Field) -> Drawn:
    """A rule of a server's proxy for some seconds."""
    words = draw(field)
    seconds = field.seconds(1.5, 5)

    def act() -> int:
        made = getattr(getattr(field.proxies, server), rule)(*words)
        try:
            field.wait(seconds)
        finally:
            made.lift()
        return int(made.hits)

    return f"{server} {rule} {' '.join(map(str, words))}".strip(), act


def flapping(server: str, field: Field) -> Drawn:
    """Cut and whole again, each for half a second."""

    def act() -> int:
        hits = 0
        for _ in range(4):
            made = getattr(field.proxies, server).cut()
            field.wait(0.5)
            made.lift()
            hits += made.hits
            field.wait(0.5)
        return hits

    return server, act


def _some(least: int, most: int) -> Callable[[Field], tuple[Any, ...]]:
    return lambda field: (field.rng.randint(least, most),)


def _nothing(_field: Field) -> tuple[Any, ...]:
    return ()


def _state(field: Field) -> tuple[Any, ...]:
    return field.rng.choice(SQLSTATES), field.rng.randint(3, 20)


RULES: Final[dict[str, tuple[str, str, Callable[[Field], tuple[Any, ...]]]]] = {
    "F9 postgres slow": ("postgres", "delay", lambda field: (field.rng.choice((20, 100, 400)),)),
    "F9 postgres refuses": ("postgres", "inject", _state),
    "F10 commit unknown": ("postgres", "lose_commit_answer", _some(3, 20)),
    "F10 commit never sent": ("postgres", "cut_before_commit", _some(3, 20)),
    "F10 produce unknown": ("kafka", "lose_produce_answer", _some(2, 8)),
    "F10 put unknown": ("s3", "lose_answer", _some(1, 5)),
    "F12 s3 503": ("s3", "status", lambda field: (field.rng.choice((500, 503)), field.rng.randint(2, 10))),
    "F12 s3 reset": ("s3", "reset_mid_body", _some(1, 4)),
    "F12 s3 slow": ("s3", "slow", lambda _field: (4096,)),
    "F18 postgres hangs": ("postgres", "hang", _nothing),
    "F18 kafka cut": ("kafka", "cut", _nothing),
    "F18 kafka hangs": ("kafka", "hang", _nothing),
    "F18 kafka slow": ("kafka", "delay", lambda field: (field.rng.choice((50, 300)),)),
    "F18 kafka one way": ("kafka", "one_way", lambda field: (field.rng.choice((UP, DOWN)),)),
    "F18 s3 cut": ("s3", "cut", _nothing),
}
FAULTS: Final[dict[str, Callable[[Field], Drawn]]] = {
    **{kind: partial(by_rule, *words) for kind, words in RULES.items()},
    "F18 postgres flaps": partial(flapping, "postgres"),
    "F18 kafka flaps": partial(flapping, "kafka"),
}
