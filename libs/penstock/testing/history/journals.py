"""Journals that a run writes while it goes on: one JSON object a line, appended in one write each.

What is asked for is written down before it is done, so that a run that dies leaves no operation unknown.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock.runtime.clock import Clock, SystemClock
from penstock.testing.history.past import Door, Expected, Outcome

CLIENT: Final = "client.ndjson"
NEMESIS: Final = "nemesis.ndjson"
PEEKS: Final = "peeks.ndjson"


class Journal:
    """One file of a run's folder, open for appending; for any number of threads."""

    def __init__(self, file: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        # Numbers go on where another writer before this one must have stopped.
        self._count = os.fstat(self._file).st_size

    def close(self) -> None:
        """Nothing more is written."""
        os.close(self._file)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def _write(self, **fields: object) -> None:
        line = msgspec.json.encode({"at": self._clock.now(), **fields}) + b"\n"
        with self._lock:
            os.write(self._file, line)


class ClientJournal(Journal):
    """H1: what clients asked for and what they were told. One writer at a time."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        super().__init__(folder / CLIENT, clock)

    def ask(
        self,
        key: str,
        definition: dict[str, Any],
        *,
        door: Door = "http",
        tenant: str = "default",
        expect: Expected = "accepted",
        rerun_of: str = "",
    ) -> int:
        """A request is about to be sent; every further try and repeat of it, too, is an operation."""
        op = self._next()
        self._write(
            op=op, what="ask", key=key, definition=definition, door=door, tenant=tenant, expect=expect,
            rerun_of=rerun_of,
        )  # fmt: skip
        return op

    def cancel(
        self, pipeline_id: str, job_id: str | None = None, *, door: Door = "http", tenant: str = "default"
    ) -> int:
        """A cancel is about to be sent."""
        op = self._next()
        self._write(op=op, what="cancel", pipeline_id=pipeline_id, job_id=job_id, door=door, tenant=tenant)
        return op

    def poison(self, topic: str, mark: str) -> int:
        """A record that nobody can use is about to be sent; `mark`: a part of its value."""
        op = self._next()
        self._write(op=op, what="poison", topic=topic, mark=mark)
        return op

    def ok(self, op: int, *, pipeline_id: str = "", note: str = "") -> None:
        """It was accepted: a 2xx, or Kafka's ack."""
        self._answer(op, "ok", pipeline_id, note)

    def fail(self, op: int, *, note: str = "") -> None:
        """It was certainly not done: a 4xx, or no connection at all."""
        self._answer(op, "fail", "", note)

    def info(self, op: int, *, note: str = "") -> None:
        """Nobody knows: the connection broke, or the answer was a 5xx."""
        self._answer(op, "info", "", note)

    def _answer(self, op: int, outcome: Outcome, pipeline_id: str, note: str) -> None:
        self._write(op=op, what=outcome, pipeline_id=pipeline_id, note=note)


class NemesisJournal(Journal):
    """H5: what was broken, when, and the proof that it bit."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        super().__init__(folder / NEMESIS, clock)

    def on(self, kind: str, target: str, *, note: str = "") -> int:
        """A fault begins now."""
        op = self._next()
        self._write(op=op, what="on", kind=kind, target=target, note=note)
        return op

    def off(self, op: int, *, bit: int) -> None:
        """It is over; it had an effect so many times."""
        self._write(op=op, what="off", bit=bit)

    def strike(self, kind: str, target: str, *, bit: int = 1, note: str = "") -> None:
        """A fault of one moment, e.g. a kill."""
        self.off(self.on(kind, target, note=note), bit=bit)


class PeekJournal(Journal):
    """H7: what pollers saw."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        super().__init__(folder / PEEKS, clock)

    def saw(self, poller: str, subject: str, version: int, state: str) -> None:
        """A poller was just shown this version and state of a job or pipeline."""
        self._write(poller=poller, subject=subject, version=version, state=state)
