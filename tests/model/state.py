"""What a state of the world is: rows, runners, records in flight, and what replicas have in mind."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from penstock.testing.model.rows import Events, Session, Work

NOBODY: Session = (-1, 0)
PIPELINE = -1
"""A cancel of the whole pipeline names this in place of a job."""
LETTERS = "ABCDEFGH"
T = TypeVar("T")


class Message(NamedTuple):
    """A record in flight. `kind`: ready, grant, order, report, undecided or cancel."""

    kind: str
    job: int
    session: Session = NOBODY
    attempt: int = 0
    token: int = 0
    word: str = ""
    """Of a report: started, ended, released. Of an order: cancelled, run-timeout, void."""
    success: bool = False
    ran: bool = False
    reason: str = ""
    accepted: bool = False


class Seat(NamedTuple):
    """An attempt that a runner holds."""

    job: int
    attempt: int
    token: int
    phase: str


class Runner(NamedTuple):
    """A machine; when its process dies, the next one is another incarnation with the same journal."""

    incarnation: int = 0
    seats: tuple[Seat, ...] = ()
    gone: tuple[Seat, ...] = ()
    """Attempts that it saw and holds no more."""
    journal: tuple[Message, ...] = ()
    """Reports that are not settled, one an attempt."""


class Budget(NamedTuple):
    """How many faults and surprises may still happen."""

    crashes: int = 0
    zombies: int = 0
    cancels: int = 0
    losses: int = 0
    copies: int = 0
    failures: int = 0
    overruns: int = 0


class State(NamedTuple):
    """Numbers are those of the book: of rows, of runners, of messages."""

    rows: int
    runners: tuple[int, ...]
    net: tuple[int, ...]
    """Sorted; a message that is twice in flight is there twice."""
    minds: tuple[Any, ...]
    """What replicas read in one transaction and act upon in the next, sorted: (kind, what)."""
    left: Budget
    unheard: tuple[int, ...] = ()
    """Cancels that were asked for and not applied yet."""


class Shape(NamedTuple):
    """A small world: its jobs, and what may happen."""

    name: str
    graph: tuple[Work, ...]
    budget: Budget
    targets: tuple[int, ...] = (PIPELINE,)
    runners: int = 2
    replicas: int = 2


class Move(NamedTuple):
    """One thing that may happen next. A fault may; all else will, if nothing happens before."""

    label: tuple[Any, ...]
    """A sentence with places, and what stands there."""
    state: State
    fault: bool = False


class Violation(Exception):
    """An invariant does not hold after a move."""

    def __init__(self, label: tuple[Any, ...], text: str) -> None:
        super().__init__(text)
        self.label = label
        self.text = text


class Book(Generic[T]):
    """Numbers for values, so that states are small and quick to compare."""

    def __init__(self) -> None:
        self._numbers: dict[T, int] = {}
        self._values: list[T] = []

    def number(self, value: T) -> int:
        """The number of a value, given at first sight."""
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self._values)
            self._values.append(value)
        return found

    def __getitem__(self, number: int) -> T:
        return self._values[number]

    def __len__(self) -> int:
        return len(self._values)


def records(events: Events) -> list[Message]:
    """The records that a process publishes of a transaction's events, but for the status records."""
    found = [Message("ready", job) for job in events.ready]
    found += [
        Message("grant", job, session, attempt, token) for session, job, attempt, token in events.grants
    ]
    found += [
        Message("order", job, session, attempt, word="cancel") for session, job, attempt in events.stops
    ]
    return found


def told(label: tuple[Any, ...]) -> str:
    """A label in words; jobs are letters."""
    sentence, *places = label
    return str(sentence).format(*(LETTERS[p] if type(p) is int else p for p in places))
