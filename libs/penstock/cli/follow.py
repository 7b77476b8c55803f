"""Follows one pipeline to its end: its status records and, if wanted, the logs of its attempts.

Threads read (one the events, up to `LOG_READERS` the logs) and put what came into one queue; the caller's
thread takes from it, keeps the view and shows it on a screen. So a screen is used by one thread only, and
Ctrl-C reaches the caller, who may go on with `run` afterwards.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from penstock.cli.view import Change, JobView, PipelineView
from penstock.client import Client, Patience, follow_events, follow_log
from penstock.client.records import LogEnd, LogLine, Status
from penstock.core.errors import PenstockError, RetryLater
from penstock.runtime.clock import Clock

LOG_READERS: Final = 64
"""Logs that are read at once; more wait their turn."""
TICK_SECONDS: Final = 0.1
LOG_QUIET_SECONDS: Final = 15.0
"""How long the rest of the logs is waited for after the pipeline has ended, from the last line on."""
TAIL_LINES: Final = 20
"""How much of a failed job's log is shown as its tail."""


class Screen:
    """Where a pipeline is shown. Called by one thread; this one shows nothing."""

    def status(self, view: PipelineView, change: Change, record: Status, /) -> None:
        """A state changed."""

    def lines(self, view: PipelineView, job: JobView, attempt: int, lines: Sequence[LogLine], /) -> None:
        """Lines of a job's log, in order."""

    def log_ended(self, view: PipelineView, job: JobView, attempt: int, end: LogEnd, /) -> None:
        """The log of an attempt is complete, or what there is of it."""

    def failed(self, view: PipelineView, job: JobView, tail: Sequence[LogLine], /) -> None:
        """A job FAILED; `tail` is how the log of its last attempt ends."""

    def note(self, text: str, /) -> None:
        """A sentence beside the pipeline: the gateway is away, a log cannot be read."""

    def tick(self, view: PipelineView, now: float, /) -> None:
        """Time passed."""

    def pause(self) -> None:
        """Somebody else writes, until the next tick."""

    def close(self, view: PipelineView, /) -> None:
        """Nothing more comes."""


Logs = Literal["all", "failed", "none"]
"""Whose logs are read: of all attempts, the tails of failed ones, or none."""
_Key = tuple[str, int]
"""Job id and attempt."""


class _Record(NamedTuple):
    record: Status


class _Lines(NamedTuple):
    key: _Key
    lines: Sequence[LogLine]
    end: LogEnd | None


class _LogLost(NamedTuple):
    key: _Key
    error: PenstockError


class _Note(NamedTuple):
    text: str


class _Failed(NamedTuple):
    error: BaseException


_Message = _Record | _Lines | _LogLost | _Note | _Failed


class Follow:
    """One pipeline on one screen."""

    def __init__(
        self, client: Client, pipeline_id: str, screen: Screen, clock: Clock, *, logs: Logs = "all"
    ) -> None:
        self.view = PipelineView(pipeline_id)
        self._client = client
        self._screen = screen
        self._clock = clock
        self._which = logs
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._leaving = threading.Event()
        self._readers = _LogReaders(client, self._messages, self._patience, tails=logs == "failed")
        self._tails: dict[_Key, deque[LogLine]] = {}
        """Of logs that were begun, until their end and that of their attempt are known."""
        self._open: set[_Key] = set()
        self._begun: set[_Key] = set()
        self._started = False

    def run(self) -> PipelineView:
        """Stay until the pipeline has ended and its logs have been read.

        After a KeyboardInterrupt it may be called again, and goes on.

        Raises:
            RetryLater: the gateway stayed away.
            Refused: there is no such pipeline.
        """
        if not self._started:
            self._started = True
            _start(self._read_events, "events")
        while not self.view.terminal:
            self._take(TICK_SECONDS)
        last = self._clock.monotonic()
        while self._open and self._clock.monotonic() - last < LOG_QUIET_SECONDS:
            if self._take(TICK_SECONDS):
                last = self._clock.monotonic()
        for job_id, _ in sorted(self._open):
            self._screen.note(f"the log of {self.view.jobs[job_id].name} is not complete yet")
        self._screen.close(self.view)
        return self.view

    def leave(self) -> None:
        """Follow no more: readers end when the gateway has nothing to say or is away."""
        self._leaving.set()

    def _patience(self, tell: Callable[[str], None] = lambda _: None) -> Patience:
        return Patience(clock=self._clock, tell=tell, stopping=self._leaving)

    def _take(self, seconds: float) -> bool:
        """Handle what comes within this time; whether anything came."""
        until = self._clock.monotonic() + seconds
        came = False
        while (left := until - self._clock.monotonic()) > 0:
            try:
                # What is there already is handled before it is shown, within the same time.
                message = self._messages.get(timeout=0 if came else left)
            except queue.Empty:
                break
            came = True
            self._handle(message)
        self._screen.tick(self.view, self._clock.now())
        return came

    def _handle(self, message: _Message) -> None:
        match message:
            case _Record(record):
                self._handle_record(record)
            case _Lines(key, lines, end):
                self._handle_lines(key, lines, end)
            case _LogLost((job_id, attempt), error):
                job = self.view.jobs[job_id]
                self._open.discard((job_id, attempt))
                self._screen.note(f"the log of {job.name} cannot be read: {error}")
                self._settle(job)
            case _Note(text):
                self._screen.note(text)
            case _Failed(error):
                self._screen.pause()
                raise error

    def _handle_record(self, record: Status) -> None:
        job_id = record.get("job_id")
        if job_id is not None and job_id not in self.view.jobs:
            self._lay_out()
        change = self.view.apply(record)
        if change is None:
            return
        self._screen.status(self.view, change, record)
        if change.job is not None:
            self._read_log(change.job)
            self._settle(change.job)

    def _handle_lines(self, key: _Key, lines: Sequence[LogLine], end: LogEnd | None) -> None:
        job = self.view.jobs[key[0]]
        if lines:
            self._tails[key].extend(lines)
            if self._which == "all":
                self._screen.lines(self.view, job, key[1], lines)
        if end is not None:
            self._open.discard(key)
            self._screen.log_ended(self.view, job, key[1], end)
            self._settle(job)

    def _settle(self, job: JobView) -> None:
        """Once a job and the log of its last attempt have ended, its tail is told or forgotten."""
        key = (job.job_id, job.attempt)
        if not job.terminal or key in self._open:
            return
        for attempt in range(1, job.attempt):
            self._tails.pop((job.job_id, attempt), None)
        tail = self._tails.pop(key, None)
        if tail is not None and job.state == "FAILED":
            self._screen.failed(self.view, job, tail)

    def _lay_out(self) -> None:
        """All jobs are there as soon as one is. Without the layout the view is only less pretty."""
        try:
            self.view.lay_out(self._client.jobs(self.view.pipeline_id))
        except RetryLater as error:
            self._screen.note(str(error))

    def _read_log(self, job: JobView) -> None:
        """Read the log of an attempt that started, also of one that has ended already."""
        key = (job.job_id, job.attempt)
        if not job.attempt or job.silent or key in self._begun:
            return
        if self._which == "all":
            wanted = job.terminal or job.state in ("RUNNING", "CANCELLING")
        else:
            wanted = self._which == "failed" and job.state == "FAILED"
        if wanted:
            self._begun.add(key)
            self._open.add(key)
            self._tails[key] = deque(maxlen=TAIL_LINES)
            self._readers.read(key)

    def _read_events(self) -> None:
        patience = self._patience(lambda text: self._messages.put(_Note(text)))
        try:
            for record in follow_events(self._client, self.view.pipeline_id, patience):
                self._messages.put(_Record(record))
        except BaseException as error:  # noqa: BLE001 - raised where it can be handled
            self._messages.put(_Failed(error))


class _LogReaders:
    """Threads that read logs, as many as are needed."""

    def __init__(
        self,
        client: Client,
        messages: queue.SimpleQueue[_Message],
        patience: Callable[[], Patience],
        *,
        tails: bool,
    ) -> None:
        self._client = client
        self._messages = messages
        self._patience = patience
        self._tails = tails
        self._lock = threading.Lock()
        self._waiting: deque[_Key] = deque()
        self._working = 0

    def read(self, key: _Key) -> None:
        """Read this log as soon as a reader is free."""
        with self._lock:
            self._waiting.append(key)
            if self._working < LOG_READERS:
                self._working += 1
                _start(self._work, "log")

    def _work(self) -> None:
        while (key := self._next()) is not None:
            try:
                self._read(key)
            except PenstockError as error:
                self._messages.put(_LogLost(key, error))
            except BaseException as error:  # noqa: BLE001 - raised where it can be handled
                self._messages.put(_Failed(error))

    def _next(self) -> _Key | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._working -= 1
            return None

    def _read(self, key: _Key) -> None:
        # Whether the gateway is away is told by the reader of the events.
        patience = self._patience()
        from_seq = self._tail_of(key, patience) if self._tails else 1
        for batch in follow_log(self._client, *key, patience, from_seq):
            lines = [record for record in batch if "end" not in record]
            last = batch[-1] if batch else None
            end = last if last is not None and "end" in last else None
            self._messages.put(_Lines(key, lines, end))

    def _tail_of(self, key: _Key, patience: Patience) -> int:
        """Where the last lines begin."""
        attempts = patience.call(lambda: self._client.attempts(key[0]))
        last = next((found["last_seq"] for found in attempts if found["attempt"] == key[1]), None)
        return max(1, (last or 0) - TAIL_LINES + 1)


def _start(target: Callable[[], None], name: str) -> None:
    """A thread that does not keep the process alive: whoever leaves early leaves at once."""
    threading.Thread(target=target, name=name, daemon=True).start()
