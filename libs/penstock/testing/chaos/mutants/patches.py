"""Mutants in Python: each takes one rule out of the process that calls it, before anything of it is made.

Everything is imported within: a process that is no mutant loads none of it.
"""

from __future__ import annotations

import dataclasses
from typing import Any


def commit_first() -> None:
    """Offsets are committed when records are read, not when they are done."""
    from penstock.kafka import consumer
    from penstock.kafka.records import positions

    poll = consumer.GroupSource.poll

    def hasty(self: consumer.GroupSource, *args: Any, **kwargs: Any) -> Any:
        batch = poll(self, *args, **kwargs)
        if batch:
            offsets = consumer._offsets(positions(batch))  # noqa: SLF001 - a mutant lives inside
            self._reader.consumer.commit(offsets=offsets, asynchronous=False)
        return batch

    consumer.GroupSource.poll = hasty  # type: ignore[method-assign]


def delete_first() -> None:
    """The relay deletes outbox rows before it publishes them."""
    from penstock.store import outbox

    relay = outbox.relay

    def hasty(db: Any, changes: Any, **bounds: Any) -> None:
        relay(db, changes, **bounds)
        outbox.acked(db, changes.outbox_ids)

    outbox.relay = hasty


def forget_keys() -> None:
    """Every try of a request gets a key of its own."""
    from penstock.core.ids import uuid4
    from penstock_services.gateway import submission

    def fresh(header: str | None) -> str:  # noqa: ARG001 - that is what is wrong with it
        return uuid4()

    submission.read_key = fresh


def begin_at_the_end() -> None:
    """A group without offsets begins with what comes next."""
    from penstock.kafka import reader

    reader.CONSUMING["auto.offset.reset"] = "latest"


def one_log_a_job() -> None:
    """Log lines are kept by job, whatever attempt they are of."""
    from penstock_services.logs import frames, handle

    def keyed(record: Any, at: float) -> frames.Frame:
        return dataclasses.replace(frames.read_frame(record, at), attempt=1)

    handle.read_frame = keyed  # type: ignore[attr-defined]


def expire_nothing() -> None:
    """The reaper looks after everything but leases."""
    from penstock_services.reaper import duties

    everything = duties.Duties.all

    def without_leases(self: duties.Duties) -> list[duties.Duty]:
        return [duty for duty in everything(self) if duty.name != "leases"]

    duties.Duties.all = without_leases  # type: ignore[method-assign]


def drop_letters() -> None:
    """What nobody can handle is dropped."""
    from penstock.kafka import loop

    loop._Loop._park = lambda *_: None  # type: ignore[method-assign] # noqa: SLF001
