"""Many schedules, in several processes with a database each."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import Final, NamedTuple

import structlog

from penstock.testing.simulation.plants import PLANTS
from penstock.testing.simulation.schedule import Outcome, run, simulated_database

SHARE: Final = 25
"""At least so many schedules at a time are one process's work, in a database of its own."""
SHARES: Final = 10
"""So many shares each process gets of very many schedules: none waits long for the last one."""


class Share(NamedTuple):
    """Seeds for one process."""

    dsn: str
    seeds: range
    plant: str


def run_many(dsn: str, seeds: range, *, processes: int = 2, plant: str = "") -> Iterator[Outcome]:
    """What each of these seeds comes to, in any order; with a fault of that name planted."""
    shares = [Share(dsn, part, plant) for part in split(seeds, processes)]
    if min(processes, len(shares)) < 2:
        for share in shares:
            yield from _perform(share)
        return
    with multiprocessing.get_context("spawn").Pool(processes, initializer=end_with_parent) as pool:
        for outcomes in pool.imap_unordered(_collect, shares):
            yield from outcomes


def end_with_parent() -> None:
    """In a worker: whoever's parent was killed would look for its database for ever."""
    parent = multiprocessing.parent_process()

    def body() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=body, daemon=True).start()


def split(seeds: range, processes: int) -> list[range]:
    """Every seed once."""
    size = max(SHARE, len(seeds) // (SHARES * processes))
    return [seeds[begin : begin + size] for begin in range(0, len(seeds), size)]


def _collect(share: Share) -> list[Outcome]:
    return list(_perform(share))


def _perform(share: Share) -> Iterator[Outcome]:
    """The services' own log lines would tell of every fault that was made on purpose."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with simulated_database(share.dsn) as db:
            for seed in share.seeds:
                yield run(db, seed, PLANTS[share.plant].spoil if share.plant else None)
    finally:
        structlog.configure(**before)
