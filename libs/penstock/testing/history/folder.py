"""The folder that a run leaves, from which a verdict can be made again at any time.

run.json         seed, commit, terms, began_at, healed_at, rested_at, lag
client.ndjson    what clients asked for, and what they were told          (`ClientJournal`)
nemesis.ndjson   what was broken                                          (`NemesisJournal`)
peeks.ndjson     what pollers saw                                         (`PeekJournal`)
runs/JOB_ID      `start ATTEMPT SECONDS`, `end ATTEMPT EXIT_CODE SECONDS [LINES]`, by the jobs themselves; and
                 `overlap ATTEMPT SECONDS` by an exclusive one that saw another run of its alive
books.json       all rows of Postgres at rest
topics/TOPIC     all records from offset 0
logs.ndjson, samples.ndjson, replays.ndjson, survivors.ndjson
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from penstock.kafka.records import Record
from penstock.store.audit import Books
from penstock.testing.history.journals import CLIENT, NEMESIS, PEEKS
from penstock.testing.history.past import (
    Ask,
    AttemptKey,
    Fault,
    History,
    Log,
    Outcome,
    Peek,
    Poison,
    Replay,
    Run,
    Sample,
    Survivor,
    Terms,
    TopicRecord,
    Wish,
)

RUN: Final = "run.json"
BOOKS: Final = "books.json"
LOGS: Final = "logs.ndjson"
SAMPLES: Final = "samples.ndjson"
REPLAYS: Final = "replays.ndjson"
SURVIVORS: Final = "survivors.ndjson"

T = TypeVar("T")


class About(msgspec.Struct, kw_only=True):
    """What `run.json` says of a run."""

    seed: int = 0
    commit: str = ""
    began_at: float = 0.0
    healed_at: float = 0.0
    rested_at: float | None = None
    terms: Terms = Terms()
    lag: dict[str, int] | None = None


class Folder:
    """Writes what a run leaves beside its journals; `path` is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs = path / "runs"
        """Where the bodies of jobs write; open to every user, as they may run as another one."""
        self.topics = path / "topics"
        self.runs.mkdir(parents=True, exist_ok=True)
        self.topics.mkdir(exist_ok=True)

    def about(self, about: About) -> None:
        """Write `run.json`."""
        (self.path / RUN).write_bytes(msgspec.json.encode(about))

    def books(self, books: Books) -> None:
        """Write all rows of Postgres."""
        (self.path / BOOKS).write_bytes(msgspec.json.encode(books))

    def topic(self, name: str, records: Iterable[Record]) -> None:
        """Write all records of a topic."""
        _write(self.topics / name, (topic_record(record) for record in records))

    def logs(self, logs: Iterable[Log]) -> None:
        """Write logs as readers got them."""
        _write(self.path / LOGS, logs)

    def samples(self, samples: Iterable[Sample]) -> None:
        """Write what was counted in the middle of the run."""
        _write(self.path / SAMPLES, samples)

    def replays(self, replays: Iterable[Replay]) -> None:
        """Write what became of reading topics once more."""
        _write(self.path / REPLAYS, replays)

    def survivors(self, survivors: Iterable[Survivor]) -> None:
        """Write which processes lived too long; an empty list says that somebody looked."""
        _write(self.path / SURVIVORS, survivors)


def load(path: Path) -> History:
    """The history that a run left in this folder; what it did not write is None."""
    about = msgspec.json.decode((path / RUN).read_bytes(), type=About)
    asks, wishes, poison = _client(path / CLIENT)
    topics, runs = path / "topics", path / "runs"
    logs = _maybe(path / LOGS, Log)
    return History(
        **{name: getattr(about, name) for name in About.__struct_fields__},
        books=msgspec.json.decode((path / BOOKS).read_bytes(), type=Books),
        asks=asks,
        wishes=wishes,
        poison=poison,
        topics={file.name: list(_read(file, TopicRecord)) for file in sorted(topics.iterdir())}
        if topics.is_dir() and any(topics.iterdir())
        else None,
        runs=read_runs(runs) if runs.is_dir() else None,
        faults=_faults(path / NEMESIS) if (path / NEMESIS).exists() else None,
        logs=None if logs is None else {(log.job_id, log.attempt): log for log in logs},
        peeks=_maybe(path / PEEKS, Peek),
        samples=_maybe(path / SAMPLES, Sample),
        replays=_maybe(path / REPLAYS, Replay),
        survivors=_maybe(path / SURVIVORS, Survivor),
    )


def topic_record(record: Record) -> TopicRecord:
    """A record as text."""
    return TopicRecord(
        record.partition,
        record.offset,
        (record.key or b"").decode(errors="replace"),
        (record.value or b"").decode(errors="replace"),
        {name: (value or b"").decode(errors="replace") for name, value in record.headers or ()},
        record.timestamp_ms / 1000,
    )


def read_runs(folder: Path) -> dict[AttemptKey, list[Run]]:
    """H4: every start of every attempt, from the files that the bodies of jobs wrote.

    An end or an overlap belongs to the last start of its attempt that has no end. A line that a kill cut off
    does not count.
    """
    runs: dict[AttemptKey, list[Run]] = {}
    for file in sorted(folder.iterdir()):
        for line in file.read_text("utf-8", errors="replace").splitlines(keepends=True):
            match line.split() if line.endswith("\n") else []:
                case ["start", attempt, at]:
                    run = Run(file.name, int(attempt), float(at))
                    runs.setdefault((run.job_id, run.attempt), []).append(run)
                case ["overlap", attempt, at]:
                    _open_run(runs, file.name, int(attempt)).overlapped_at = float(at)
                case ["end", attempt, code, at, *lines]:
                    run = _open_run(runs, file.name, int(attempt))
                    run.ended_at, run.exit_code = float(at), int(code)
                    run.lines = int(lines[0]) if lines else None
    return runs


def _open_run(runs: dict[AttemptKey, list[Run]], job_id: str, attempt: int) -> Run:
    known = runs.get((job_id, attempt), [])
    return next((run for run in reversed(known) if run.ended_at is None), Run("", 0))


def _client(file: Path) -> tuple[list[Ask], list[Wish], list[Poison]]:
    """All tries under one key, of one door and for one thing, are one request."""
    asks: dict[tuple[str, str, str, str], Ask] = {}
    wishes: list[Wish] = []
    poison: list[Poison] = []
    open_: dict[int, Ask | Wish | Poison] = {}
    for line in _lines(file):
        at, op, what = line.pop("at"), line.pop("op"), line.pop("what")
        match what:
            case "ask":
                ask = Ask(**line, asked_at=at)
                key = (ask.tenant, ask.key, ask.expect, msgspec.json.encode(ask.definition).decode())
                open_[op] = first = asks.setdefault(key, ask)
                first.tries += first is not ask
            case "cancel":
                wishes.append(wish := Wish(**line, asked_at=at))
                open_[op] = wish
            case "poison":
                poison.append(bad := Poison(**line, asked_at=at))
                open_[op] = bad
            case _:
                _answered(open_.pop(op), what, at, line)
    for left in open_.values():
        _answered(left, "info", None, {})
    return list(asks.values()), wishes, poison


_CERTAINTY: Final[dict[Outcome, int]] = {"open": 0, "fail": 1, "info": 2, "ok": 3}


def _answered(op: Ask | Wish | Poison, outcome: Outcome, at: float | None, said: dict[str, Any]) -> None:
    """Of several tries one that was accepted decides, then one of which nobody knows."""
    pipeline_id = said.get("pipeline_id", "")
    if isinstance(op, Ask) and pipeline_id and pipeline_id not in op.pipeline_ids:
        op.pipeline_ids.append(pipeline_id)
    if _CERTAINTY[outcome] > _CERTAINTY[op.outcome]:
        op.outcome, op.answered_at, op.note = outcome, at, said.get("note", "")


def _faults(file: Path) -> list[Fault]:
    faults: dict[int, Fault] = {}
    for line in _lines(file):
        if line["what"] == "on":
            faults[line["op"]] = Fault(
                kind=line["kind"], target=line["target"], on=line["at"], note=line["note"]
            )
        else:
            fault = faults[line["op"]]
            fault.off, fault.bit = line["at"], line["bit"]
    return list(faults.values())


def _maybe(file: Path, kind: type[T]) -> list[T] | None:
    return list(_read(file, kind)) if file.exists() else None


def _read(file: Path, kind: type[T]) -> Iterator[T]:
    decode: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode
    with file.open("rb") as lines:
        yield from (decode(line) for line in lines if line.endswith(b"\n"))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    return _read(file, dict[str, Any]) if file.exists() else iter(())


def _write(file: Path, items: Iterable[msgspec.Struct]) -> None:
    with file.open("wb") as out:
        out.writelines(msgspec.json.encode(item) + b"\n" for item in items)
