"""A pipeline on a terminal: a live tree of jobs at the bottom, their output running by above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from penstock.cli.ansi import last_line, printable
from penstock.cli.follow import Screen
from penstock.cli.plain import end_words, is_quiet, state_words
from penstock.cli.view import Change, JobView, PipelineView
from penstock.cli.words import counted, look, plural, reason_words, span
from penstock.client.records import LogEnd, LogLine, Status

SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PALETTE: Final = (
    "cyan",
    "green",
    "yellow",
    "magenta",
    "blue",
    "bright_cyan",
    "bright_green",
    "bright_magenta",
)
NAME_CELLS: Final = 24
"""Width of names in front of lines."""
SHOWN_TAILS: Final = 5
FINAL_ROWS: Final = 60
"""Jobs in the tree that stays."""
REDRAW_SECONDS: Final = 0.1
LIVE_SHARE: Final = 0.6
"""Of the terminal's height, for the live tree."""

_URGENCY: Final = (
    ("FAILED",), ("RUNNING", "CANCELLING", "RETRYING"), ("ASSIGNED", "WAITING"), ("CANCELLED",),
    ("QUEUED",), ("SUCCESS",), ("PENDING", "SKIPPED"),
)  # fmt: skip
"""Which jobs are shown when not all of them fit."""


def tree(view: PipelineView, now: float, rows: int, last_lines: dict[str, str]) -> RenderableType:
    """The pipeline with at most `rows` jobs; `last_lines` is what running ones wrote last, by job id."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=50)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis", style="bright_black", ratio=1)
    shown = _most_urgent(view, rows)
    stages = view.stages()
    named = len(stages) > 1 or any(stage for stage, _ in stages)
    for stage, jobs in stages:
        kept = [job for job in jobs if job.job_id in shown]
        if named and kept:
            grid.add_row(Text(stage or "(no stage)", style="bold"), "", "", "")
        for at, job in enumerate(kept):
            guide = ("└─ " if at == len(kept) - 1 else "├─ ") if named else ""
            _add_row(grid, guide, view, job, now, last_lines)
    hidden = [job for job in view.jobs.values() if job.job_id not in shown]
    parts: list[RenderableType] = [_head(view, now), grid]
    if hidden:
        states: dict[str, int] = {}
        for job in hidden:
            states[job.state] = states.get(job.state, 0) + 1
        parts.append(Text(f"… and {plural(len(hidden), 'more job')}: {counted(states)}", "bright_black"))
    return Group(*parts)


def _head(view: PipelineView, now: float) -> Text:
    appearance = look(view.state)
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{appearance.mark} {view.state or 'RECEIVED'}", f"bold {appearance.colour}")
    text.append(f" {view.name} ", "bold")
    text.append(f"{span(view.seconds(now))}  {counted(view.counts())}  {view.pipeline_id}", "bright_black")
    return text


def _add_row(
    grid: Table, guide: str, view: PipelineView, job: JobView, now: float, last_lines: dict[str, str]
) -> None:
    appearance = look(job.state)
    mark = SPINNER[int(now * 10) % len(SPINNER)] if job.state == "RUNNING" else appearance.mark
    name = Text.assemble((guide, "bright_black"), (mark, appearance.colour), f" {job.name}")
    seconds = job.seconds(now)
    note = reason_words(job.reason, job.exit_code)
    if job.attempt > 1:
        note = ", ".join(part for part in (note, f"attempt {job.attempt}") if part)
    if job.state == "PENDING" and (unmet := view.unmet(job)):
        note = f"waits for {', '.join(unmet[:3])}" + (f" and {len(unmet) - 3} more" if len(unmet) > 3 else "")
    elif job.state == "RUNNING":
        note = last_lines.get(job.job_id, "") or note
    state = Text(job.state, appearance.colour)
    grid.add_row(name, state, "" if seconds is None else span(seconds), Text.from_ansi(note))


def _most_urgent(view: PipelineView, rows: int) -> set[str]:
    """Ids of the jobs to show."""
    if len(view.jobs) <= rows:
        return set(view.jobs)
    rank = {state: at for at, states in enumerate(_URGENCY) for state in states}
    jobs = sorted(view.jobs.values(), key=lambda job: (rank.get(job.state, len(rank)), -job.at))
    return {job.job_id for job in jobs[:rows]}


class TreeScreen(Screen):
    """See the module. `logs`: whether lines run by. What is written goes out with the next tick, at once."""

    def __init__(self, console: Console, *, logs: bool) -> None:
        self._console = console
        self._logs = logs
        self._live: Live | None = None
        self._written: list[RenderableType] = []
        self._drawn_at = 0.0
        self._colours: dict[str, str] = {}
        self._last_lines: dict[str, str] = {}
        self._failures: list[tuple[JobView, list[LogLine]]] = []

    def status(self, view: PipelineView, change: Change, _record: Status, /) -> None:
        """See `Screen`."""
        if self._logs and not is_quiet(change):
            appearance = look(change.state)
            text = f"{appearance.mark} {state_words(view, change)}"
            self._written.append(Text(text, appearance.colour))

    def lines(self, _view: PipelineView, job: JobView, _attempt: int, lines: Sequence[LogLine], /) -> None:
        """See `Screen`."""
        self._last_lines[job.job_id] = last_line(lines[-1]["text"])
        if self._logs:
            colour = self._colours.setdefault(job.name, PALETTE[len(self._colours) % len(PALETTE)])
            self._written += [_line(job.name, colour, last_line(line["text"])) for line in lines]

    def log_ended(self, _view: PipelineView, job: JobView, _attempt: int, end: LogEnd, /) -> None:
        """See `Screen`."""
        if words := end_words(end):
            self.note(f"{job.name}: {words}")

    def failed(self, _view: PipelineView, job: JobView, tail: Sequence[LogLine], /) -> None:
        """See `Screen`. Where all lines run by, tails wait for the end: there they are found."""
        if self._logs:
            self._failures.append((job, list(tail)))
        else:
            self._written += _tail(job, tail)

    def note(self, text: str, /) -> None:
        """See `Screen`."""
        self._written.append(Text(text, "yellow"))

    def tick(self, view: PipelineView, now: float, /) -> None:
        """See `Screen`."""
        if not self._written and 0 <= now - self._drawn_at < REDRAW_SECONDS:
            return
        self._drawn_at = now
        rows = max(3, int(self._console.height * LIVE_SHARE) - 2)
        drawn = tree(view, now, rows, self._last_lines)
        if self._live is None:
            self._live = Live(drawn, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._console.show_cursor(True)  # whatever ends this process leaves a terminal that can be used
        self._live.update(drawn, refresh=not self._written)
        self._flush()

    def pause(self) -> None:
        """See `Screen`: the tree goes away."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._flush()

    def close(self, view: PipelineView, /) -> None:
        """See `Screen`: what stays is the tree, and the tails of what failed."""
        self.pause()
        for job, tail in self._failures[:SHOWN_TAILS]:
            self._written += _tail(job, tail)
        if len(self._failures) > SHOWN_TAILS:
            self.note(f"… and {plural(len(self._failures) - SHOWN_TAILS, 'more job')} failed")
        self._failures = []
        self._written.append(tree(view, view.at, FINAL_ROWS, {}))
        self._flush()

    def _flush(self) -> None:
        """Above the tree, which is drawn again below."""
        if self._written:
            self._console.print(*self._written, sep="\n", soft_wrap=True)
            self._written = []


def _line(name: str, colour: str, text: str) -> Text:
    head = Text(name)
    head.truncate(NAME_CELLS, overflow="ellipsis", pad=False)
    head.append(" │ ")
    head.stylize(colour)
    return head.append(Text.from_ansi(text) if "\x1b" in text else Text(text))


def _tail(job: JobView, tail: Sequence[LogLine]) -> list[RenderableType]:
    """How a failed job's log ends, framed."""
    title = Text(f"{job.name}: {reason_words(job.reason, job.exit_code)}", "bold red")
    shown = [Text.from_ansi(printable(line["text"])) for line in tail]
    return [Rule(title, style="red", align="left"), *shown, Rule(style="red")]
