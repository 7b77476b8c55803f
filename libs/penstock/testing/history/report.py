"""A verdict for people: one row an invariant, figures, and the shortest story of each that was broken."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.testing.history.figures import Durations, Figures
from penstock.testing.history.verdict import Judged, Verdict

WIDTH: Final = 140
STYLES: Final = {"held": "green", "broken": "bold red", "not judged": "dim"}
MOST_TOLD: Final = 10


def text(verdict: Verdict, *, color: bool = False) -> str:
    """The whole report."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, force_terminal=color, no_color=not color, highlight=False)
    console.print(_invariants(verdict))
    for line in _figures(verdict.figures):
        console.print(Text(line))
    if verdict.figures.recovery:
        console.print(_recovery(verdict.figures))
    for one in verdict.invariants:
        if one.state == "broken":
            for line in _story(one):
                console.print(Text(line, overflow="fold"))
    end = "all invariants held" if verdict.held else "broken"
    console.print(Text(f"\nseed {verdict.seed} {verdict.commit}".rstrip() + f": {end}"))
    return out.getvalue()


def _invariants(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "invariant", "verdict", "found"):
        table.add_column(column, justify="right" if column == "found" else "left")
    for one in verdict.invariants:
        state = one.state + (f" (no {', '.join(one.lacks)})" if one.lacks else "")
        found = str(one.found) if one.found else ""
        table.add_row(one.invariant, Text(one.about), Text(state, STYLES[one.state]), found)
    return table


def _figures(figures: Figures) -> Iterator[str]:
    states = ", ".join(f"{count} {state}" for state, count in figures.jobs_by_state.items())
    yield f"\n{figures.jobs} jobs ({states}), {figures.attempts} attempts, {figures.runs} processes"
    yield "requests: " + ", ".join(f"{count} {name}" for name, count in figures.requests.items())
    yield f"{figures.retaken} attempts taken back, {figures.zombies} of them told of themselves all the same"
    if figures.stops.count:
        yield f"from the order to stop to the end of the process: {_times(figures.stops)}"
    if figures.heal_to_last_end is not None:
        yield f"from the last fault to the last end of a job: {figures.heal_to_last_end:.1f} s"
    if figures.faults:
        yield f"{figures.faults} faults of {figures.kinds} kinds bit\n"


def _recovery(figures: Figures) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("fault", "struck", "bit", "then no claim for, s", "alone, s", "given back after, s"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for kind, one in figures.recovery.items():
        times = (_times(one.stalls), _times(one.alone), _times(one.given_back))
        table.add_row(Text(kind), str(one.faults), str(one.bitten), *times)
    return table


def _times(durations: Durations) -> str:
    if durations.count < 2:
        return f"{durations.longest:.2f}" if durations.count else ""
    return f"p50 {durations.p50:.2f} p99 {durations.p99:.2f} most {durations.longest:.2f}"


def _story(one: Judged) -> Iterator[str]:
    yield f"\n{one.invariant} is broken: {one.about}"
    yield from (f"  ! {finding}" for finding in one.findings[:MOST_TOLD])
    if one.found > MOST_TOLD:
        yield f"  … {one.found - MOST_TOLD} more"
    if len(one.story) > 1:
        yield f"  The shortest of their stories: {one.story[0]}"
        yield from (f"    {line}" for line in one.story[1:])
