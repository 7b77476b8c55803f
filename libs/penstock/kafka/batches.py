"""What a step of a control service is and returns; the loop around it is in `penstock.kafka.loop`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from penstock.kafka.records import Outgoing, Record


class Dead(NamedTuple):
    """A record that the step could not handle; `error` is the class of what was raised, if anything."""

    record: Record
    reason: str
    error: str = ""


@dataclasses.dataclass(slots=True)
class Outcome:
    """What is left to do once a step's transaction is committed."""

    records: list[Outgoing] = dataclasses.field(default_factory=list)
    """To be sent; the offsets are committed only after their acks."""
    done: Callable[[], None] | None = None
    """Called after the acks, to forget the outbox row of these records.

    With it the records are safe in the outbox: when Kafka does not take them now, the relay will send them.
    Without it nobody else will, and the loop sends them until they are acknowledged.
    """
    dead: list[Dead] = dataclasses.field(default_factory=list)
    """To be parked in the dead-letter topics."""
    later: list[Record] = dataclasses.field(default_factory=list)
    """To come again soon, with or without others: what they need is away, and only they need it."""


Step = Callable[[list[Record], float], Outcome]
"""Does the work of a batch in one transaction at Unix seconds `now`.

It may raise `RetryLater` (nothing was decided: the same batch comes again). Any other error bisects the batch
until the record that fails alone is found and parked.
"""
Tick = Callable[[float], Outcome | None]
"""Does what is due by the clock (sweeps, the outbox relay), in one transaction."""
