"""The screen of the demo: shows an act on another screen, checks and measures it, cancels it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from penstock.cli.demo.acts import Act
from penstock.cli.demo.measures import Measures
from penstock.cli.follow import Screen
from penstock.cli.view import Change, JobView, PipelineView
from penstock.client import Client
from penstock.client.records import LogEnd, LogLine, Status
from penstock.core.errors import StopProcess
from penstock.runtime.clock import Clock

ACT_SECONDS: Final = 60.0
_PROCESS: Final = re.compile(r"is process ([0-9]+)$")


class Audience(Screen):
    """Watches one act."""

    def __init__(self, act: Act, client: Client, clock: Clock, measures: Measures, shown: Screen) -> None:
        self.faults: list[str] = []
        self.submitted_at = clock.now()
        self._act = act
        self._client = client
        self._clock = clock
        self._measures = measures
        self._shown = shown
        self._deadline = clock.monotonic() + ACT_SECONDS
        self._last_seq: dict[tuple[str, int], int] = {}
        self._processes: list[int] = []

    def status(self, view: PipelineView, change: Change, record: Status, /) -> None:
        """See `Screen`; at CANCELLED no process may be left."""
        self._measures.submitted(view.pipeline_id, self.submitted_at)
        self._measures.status(record, self._clock.now())
        self._shown.status(view, change, record)
        if change.job is not None and change.state == "CANCELLED" and change.job.attempt:
            alive = [process for process in self._processes if _is_alive(process)]
            if alive:
                self.faults.append(f"{change.job.name} is CANCELLED and processes {alive} live")
            else:
                self._shown.note(f"processes {', '.join(map(str, self._processes))}: dead")

    def lines(self, view: PipelineView, job: JobView, attempt: int, lines: Sequence[LogLine], /) -> None:
        """See `Screen`; lines must come in order and without gaps."""
        self._measures.lines(job.job_id, attempt, list(lines), self._clock.now())
        self._shown.lines(view, job, attempt, lines)
        for line in lines:
            expected = self._last_seq.get((job.job_id, attempt), 0) + 1
            if line["seq"] != expected:
                self.faults.append(f"line {line['seq']} of {job.name} came in place of line {expected}")
            self._last_seq[job.job_id, attempt] = line["seq"]
            self._watch_for_processes(view, line)

    def log_ended(self, view: PipelineView, job: JobView, attempt: int, end: LogEnd, /) -> None:
        """See `Screen`; no line may be missing."""
        self._shown.log_ended(view, job, attempt, end)
        seen = self._last_seq.get((job.job_id, attempt), 0)
        if end.get("incomplete") or seen != end["last_seq"]:
            self.faults.append(f"the log of {job.name} has {end['last_seq']} lines, {seen} came")

    def failed(self, view: PipelineView, job: JobView, tail: Sequence[LogLine], /) -> None:
        """See `Screen`."""
        self._shown.failed(view, job, tail)

    def note(self, text: str, /) -> None:
        """See `Screen`."""
        self._shown.note(text)

    def tick(self, view: PipelineView, now: float, /) -> None:
        """See `Screen`; an act that hangs ends the demo."""
        self._shown.tick(view, now)
        if self._clock.monotonic() > self._deadline:
            self._shown.pause()
            raise StopProcess(f"{view.name} is {view.state} after {ACT_SECONDS:.0f} s: the stack is stuck")

    def pause(self) -> None:
        """See `Screen`."""
        self._shown.pause()

    def close(self, view: PipelineView, /) -> None:
        """See `Screen`."""
        self._shown.close(view)

    def _watch_for_processes(self, view: PipelineView, line: LogLine) -> None:
        found = _PROCESS.search(line["text"])
        if found is None or not self._act.cancel_at:
            return
        self._processes.append(int(found[1]))
        if len(self._processes) == self._act.cancel_at:
            self._shown.note(f"cancelling {view.name}")
            self._client.cancel_pipeline(view.pipeline_id, "the demo shows it")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
